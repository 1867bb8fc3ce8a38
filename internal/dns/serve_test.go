package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/matryoshka-dev/matryoshka/internal/dns/hostview"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const id = "aaaaaaaa"

func hostMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: mapping.HostNamespace(id, "default"), Name: name,
		Labels: map[string]string{mapping.LabelID: id, mapping.LabelTenantNamespace: "default"},
	}
}

func exchange(t *testing.T, network, server, name string) *mdns.Msg {
	t.Helper()
	question := new(mdns.Msg)
	question.SetQuestion(name, mdns.TypeA)
	client := &mdns.Client{Net: network, Timeout: 10 * time.Second}
	answer, _, err := client.ExchangeContext(t.Context(), question, server)
	if err != nil {
		t.Fatalf("%s over %s: %v", name, network, err)
	}
	return answer
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
	if err != nil {
		t.Fatalf("%s did not come true: %v", what, err)
	}
}

// startUpstream is a resolver that answers every question with one address.
func startUpstream(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &mdns.Server{PacketConn: conn, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, r *mdns.Msg) {
		answer := new(mdns.Msg)
		answer.SetReply(r)
		if r.Question[0].Qtype == mdns.TypeA {
			record, err := mdns.NewRR(r.Question[0].Name + " 60 IN A 192.0.2.7")
			if err != nil {
				panic(err)
			}
			answer.Answer = append(answer.Answer, record)
		}
		_ = w.WriteMsg(answer)
	})}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String()
}

func TestServe(t *testing.T) {
	service := &corev1.Service{ObjectMeta: hostMeta("web"), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.11", ClusterIPs: []string{"10.96.0.11"},
	}}
	host := fake.NewClientset(service)
	view, err := hostview.New(host)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := listen(t.Context(), Options{Listen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	upstream := startUpstream(t)
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, "cluster.local", view, []string{upstream}, sockets, slog.New(slog.DiscardHandler))
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	server, probes := sockets.tcp.Addr().String(), "http://"+sockets.http.Addr().String()
	eventually(t, "readiness", func() bool { return status(t, probes+"/readyz") == http.StatusOK })

	// The source is unknown until its pod is seen; the question that came too early is answered then.
	early := make(chan *mdns.Msg, 1)
	go func() { early <- exchange(t, "udp", server, "web.default.svc.cluster.local.") }()
	pod := &corev1.Pod{ObjectMeta: hostMeta("client"), Status: corev1.PodStatus{
		Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}},
	}}
	if _, err := host.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if answer := <-early; len(answer.Answer) != 1 {
		t.Errorf("the early question got %v", answer)
	}
	for _, network := range []string{"udp", "tcp"} {
		if answer := exchange(t, network, server, "web.default.svc.cluster.local."); len(answer.Answer) != 1 {
			t.Errorf("%s: %v", network, answer)
		}
		if answer := exchange(t, network, server, "nope.default.svc.cluster.local."); answer.Rcode != mdns.RcodeNameError {
			t.Errorf("%s: %v", network, answer)
		}
		if answer := exchange(t, network, server, "example.org."); len(answer.Answer) != 1 {
			t.Errorf("%s: %v", network, answer)
		}
	}
	if code := status(t, probes+"/metrics"); code != http.StatusOK {
		t.Errorf("metrics: %d", code)
	}
	if code := status(t, probes+"/healthz"); code != http.StatusOK {
		t.Errorf("health: %d", code)
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestUpstreams(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		asked  []string
		file   string
		want   []string
		refuse bool
	}{
		"from the file":     {file: file, want: []string{"192.0.2.1:53", "[2001:db8::1]:53"}},
		"no file":           {file: file + ".none"},
		"none":              {asked: []string{"none"}, file: file},
		"asked":             {asked: []string{"192.0.2.2", "192.0.2.3:5353", "[2001:db8::2]:54"}, want: []string{"192.0.2.2:53", "192.0.2.3:5353", "[2001:db8::2]:54"}},
		"a name":            {asked: []string{"dns.example.org"}, refuse: true},
		"none and another":  {asked: []string{"none", "192.0.2.2"}, refuse: true},
		"more than allowed": {asked: make([]string, maxUpstreams+1), refuse: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := upstreams(tc.asked, tc.file)
			if (err != nil) != tc.refuse {
				t.Fatalf("got error %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	good := Options{Listen: ":1053", HTTPListen: ":8081", ClusterDomain: "cluster.local"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Options){
		func(o *Options) { o.Listen = "1053" },
		func(o *Options) { o.HTTPListen = "" },
		func(o *Options) { o.ClusterDomain = "Cluster Local" },
	} {
		bad := good
		change(&bad)
		if bad.Validate() == nil {
			t.Errorf("accepted %s", fmt.Sprintf("%+v", bad))
		}
	}
}
