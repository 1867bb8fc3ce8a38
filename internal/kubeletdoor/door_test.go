package kubeletdoor

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	nodeName, nodeIP = "node-1", "192.0.2.1"
	agentToken       = "the-agents-own"
)

var hostNamespace = mapping.HostNamespace("aaaaaaaa", "default")

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	made := a.sign(t, template)
	a.certificate, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.certificate)
	return a
}

func (a authority) sign(t *testing.T, template *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, parentKey := a.certificate, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a authority) leaf(t *testing.T, usage x509.ExtKeyUsage, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	change(template)
	return a.sign(t, template)
}

func (a authority) client(t *testing.T, uid types.UID) *tls.Certificate {
	return a.leaf(t, x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) { c.URIs = append(c.URIs, dooridentity.URI(uid)) })
}

// hostAPI is the part of a host's API server that streams: pods by name, and an echo behind every upgrade.
type hostAPI struct {
	mu   sync.Mutex
	pods map[string]*corev1.Pod
	seen []*http.Request
	fail error
	// ended receives a value when a stream is over.
	ended chan struct{}
}

func (h *hostAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.seen = append(h.seen, r.Clone(context.Background()))
	fail := h.fail
	h.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+agentToken {
		writeStatus(w, apierrors.NewUnauthorized("who are you"))
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/")
	namespace, rest, _ := strings.Cut(path, "/pods/")
	name, subresource, isStream := strings.Cut(rest, "/")
	pod, ok := h.pods[namespace+"/"+name]
	switch {
	case !ok:
		writeStatus(w, apierrors.NewNotFound(corev1.Resource("pods"), name))
	case !isStream:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(pod)
	case fail != nil:
		writeStatus(w, fail)
	case subresource == "log":
		w.Header().Set("Audit-Id", "host-secret")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "first line\n")
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("follow") == "true" {
			<-r.Context().Done()
			h.ended <- struct{}{}
		}
	default:
		h.echo(w, r)
	}
}

func (h *hostAPI) echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
	w.Header().Set("X-Stream-Protocol-Version", r.Header.Get("X-Stream-Protocol-Version"))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.Copy(conn, buffered)
	_ = conn.Close()
	h.ended <- struct{}{}
}

func writeStatus(w http.ResponseWriter, err error) {
	status := err.(apierrors.APIStatus).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status)
}

type fixture struct {
	t        *testing.T
	address  string
	doorCA   authority
	kubelets authority
	registry *tenants.Registry
	tenant   tenants.Tenant
	host     *hostAPI
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, doorCA: newAuthority(t), kubelets: newAuthority(t), registry: tenants.NewRegistry()}
	f.tenant = tenants.Tenant{ID: "aaaaaaaa", UID: "uid-a", KubeletCertificate: func(ip string) (*tls.Certificate, error) {
		return f.kubelets.leaf(t, x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(ip)} }), nil
	}}
	f.registry.Set(f.tenant)
	f.registry.Set(tenants.Tenant{ID: "bbbbbbbb", UID: "uid-b", KubeletCertificate: f.tenant.KubeletCertificate})
	f.host = &hostAPI{ended: make(chan struct{}, 16), pods: map[string]*corev1.Pod{}}
	f.addPod(hostNamespace, "web", nil)
	f.addPod(hostNamespace, "foreign", func(p *corev1.Pod) { p.Labels = nil })
	f.addPod(hostNamespace, "of-b", func(p *corev1.Pod) { p.Labels[mapping.LabelID] = "bbbbbbbb" })
	f.addPod(hostNamespace, "reborn", func(p *corev1.Pod) { p.Labels[mapping.LabelUID] = "uid-before" })
	hostServer := httptest.NewServer(f.host)
	t.Cleanup(hostServer.Close)

	serving := f.doorCA.leaf(t, x509.ExtKeyUsageServerAuth, func(c *x509.Certificate) { c.DNSNames = []string{"door"} })
	door, err := New(Options{
		HostConfig: &rest.Config{Host: hostServer.URL, BearerToken: agentToken},
		Tenants:    f.registry,
		TLS: dooridentity.ServerConfig(
			func() (*tls.Certificate, error) { return serving, nil },
			func() (*x509.CertPool, error) { return f.doorCA.pool, nil },
		),
		NodeAddress: func(_ context.Context, node string) (string, bool, error) { return nodeIP, node == nodeName, nil },
		Log:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- door.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the door does not stop")
		}
	})
	return f
}

func (f *fixture) addPod(namespace, name string, change func(*corev1.Pod)) {
	pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: "host-uid-1",
		Labels:      map[string]string{mapping.LabelID: "aaaaaaaa", mapping.LabelUID: "uid-a", mapping.LabelTenantNamespace: "default"},
		Annotations: map[string]string{mapping.AnnotationTenantUID: "virtual-uid-1"},
	}}
	if change != nil {
		change(pod)
	}
	f.host.pods[namespace+"/"+name] = pod
}

// dial opens the outer connection and asks for a node.
func (f *fixture) dial(certificate *tls.Certificate, node string) (net.Conn, *http.Response, error) {
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		return nil, nil, err
	}
	f.t.Cleanup(func() { raw.Close() })
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, nil, err
	}
	outer := tls.Client(raw, &tls.Config{RootCAs: f.doorCA.pool, ServerName: "door", Certificates: []tls.Certificate{*certificate}})
	if _, err := fmt.Fprintf(outer, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", node, node); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(outer), &http.Request{Method: http.MethodConnect})
	return outer, response, err
}

// kubelet opens a tunnel to the node and trusts the tenant's kubelet CA, as an API server does.
func (f *fixture) kubelet(uid types.UID) net.Conn {
	f.t.Helper()
	outer, response, err := f.dial(f.doorCA.client(f.t, uid), nodeName+":10250")
	if err != nil || response.StatusCode != http.StatusOK {
		f.t.Fatalf("tunnel of %s: %v %v", uid, response, err)
	}
	inner := tls.Client(outer, &tls.Config{RootCAs: f.kubelets.pool, ServerName: nodeIP, NextProtos: []string{"h2", "http/1.1"}})
	if err := inner.Handshake(); err != nil {
		f.t.Fatal(err)
	}
	return inner
}

func (f *fixture) do(connection net.Conn, method, target string, header http.Header) (*http.Response, *bufio.Reader) {
	f.t.Helper()
	r, err := http.NewRequest(method, "https://kubelet"+target, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header = header
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if err := r.Write(connection); err != nil {
		f.t.Fatal(err)
	}
	buffered := bufio.NewReader(connection)
	response, err := http.ReadResponse(buffered, r)
	if err != nil {
		f.t.Fatal(err)
	}
	return response, buffered
}

func (f *fixture) lastSeen() *http.Request {
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	return f.host.seen[len(f.host.seen)-1]
}

func body(t *testing.T, response *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhoMayConnect(t *testing.T) {
	f := newFixture(t)
	cases := map[string]struct {
		certificate *tls.Certificate
		target      string
		want        int // 0: no answer at all
	}{
		"a tenant":         {f.doorCA.client(t, "uid-a"), "node-1:10250", http.StatusOK},
		"unknown tenant":   {f.doorCA.client(t, "uid-x"), "node-1:10250", http.StatusForbidden},
		"unknown node":     {f.doorCA.client(t, "uid-a"), "node-9:10250", http.StatusNotFound},
		"another port":     {f.doorCA.client(t, "uid-a"), "node-1:22", http.StatusBadRequest},
		"another CA":       {newAuthority(t).client(t, "uid-a"), "node-1:10250", 0},
		"the kubelets' CA": {f.kubelets.client(t, "uid-a"), "node-1:10250", 0},
		"expired": {f.doorCA.leaf(t, x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) {
			c.URIs, c.NotAfter = append(c.URIs, dooridentity.URI("uid-a")), time.Now().Add(-time.Minute)
		}), "node-1:10250", 0},
		"no name": {f.doorCA.leaf(t, x509.ExtKeyUsageClientAuth, func(*x509.Certificate) {}), "node-1:10250", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, response, err := f.dial(tc.certificate, tc.target)
			switch {
			case tc.want == 0 && err == nil:
				t.Errorf("answered %s", response.Status)
			case tc.want != 0 && (err != nil || response.StatusCode != tc.want):
				t.Errorf("got %v %v, want %d", response, err, tc.want)
			}
		})
	}
}

func TestLog(t *testing.T) {
	f := newFixture(t)
	response, _ := f.do(f.kubelet("uid-a"), http.MethodGet, "/containerLogs/default/web/app?tailLines=5&pretty=1", http.Header{
		"Authorization": {"Bearer tenant"}, "Impersonate-User": {"admin"}, "X-Remote-User": {"admin"}, "X-Forwarded-For": {"1.2.3.4"}, "Cookie": {"a=b"},
	})
	if got := body(t, response); response.StatusCode != http.StatusOK || got != "first line\n" {
		t.Errorf("%s %q", response.Status, got)
	}
	if response.Header.Get("Audit-Id") != "" {
		t.Error("the host's headers reach the tenant")
	}
	seen := f.lastSeen()
	if seen.URL.Path != "/api/v1/namespaces/"+hostNamespace+"/pods/web/log" || seen.URL.RawQuery != "container=app&tailLines=5" {
		t.Errorf("the host was asked for %s", seen.URL)
	}
	for _, key := range []string{"Impersonate-User", "X-Remote-User", "X-Forwarded-For", "Cookie"} {
		if seen.Header.Get(key) != "" {
			t.Errorf("%s of the tenant reached the host", key)
		}
	}
}

func TestFollowedLogEndsWithItsReader(t *testing.T) {
	f := newFixture(t)
	connection := f.kubelet("uid-a")
	response, _ := f.do(connection, http.MethodGet, "/containerLogs/default/web/app?follow=true", nil)
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	if err != nil || line != "first line\n" {
		t.Fatalf("the first line came late or wrong: %q %v", line, err)
	}
	connection.Close()
	waitEnded(t, f)
}

func waitEnded(t *testing.T, f *fixture) {
	t.Helper()
	select {
	case <-f.host.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream on the host goes on")
	}
}

func TestStreams(t *testing.T) {
	f := newFixture(t)
	cases := map[string]struct {
		method, target, upgrade, wantPath string
	}{
		"exec over SPDY":          {http.MethodPost, "/exec/default/web/app?command=cat&input=1&output=1", "SPDY/3.1", "exec"},
		"exec over WebSocket":     {http.MethodGet, "/exec/default/web/virtual-uid-1/app?command=cat&input=1&output=1", "websocket", "exec"},
		"attach over SPDY":        {http.MethodPost, "/attach/default/web/app?output=1", "SPDY/3.1", "attach"},
		"port-forward over SPDY":  {http.MethodPost, "/portForward/default/web", "SPDY/3.1", "portforward"},
		"port-forward, WebSocket": {http.MethodGet, "/portForward/default/web?port=80", "websocket", "portforward"},
		"upgrade in another case": {http.MethodPost, "/portForward/default/web", "spdy/3.1", "portforward"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			connection := f.kubelet("uid-a")
			response, buffered := f.do(connection, tc.method, tc.target, http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {tc.upgrade}, "X-Stream-Protocol-Version": {"v4.channel.k8s.io"},
			})
			if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("X-Stream-Protocol-Version") != "v4.channel.k8s.io" {
				t.Fatalf("%s %v", response.Status, response.Header)
			}
			if _, err := io.WriteString(connection, "hello\n"); err != nil {
				t.Fatal(err)
			}
			if echoed, err := buffered.ReadString('\n'); err != nil || echoed != "hello\n" {
				t.Errorf("got %q, %v", echoed, err)
			}
			if seen := f.lastSeen(); !strings.HasSuffix(seen.URL.Path, "/pods/web/"+tc.wantPath) {
				t.Errorf("the host was asked for %s", seen.URL)
			}
			connection.Close()
			waitEnded(t, f)
		})
	}
}

func TestForeignPods(t *testing.T) {
	f := newFixture(t)
	cases := map[string]struct {
		uid    types.UID
		target string
	}{
		"no such pod":             {"uid-a", "/containerLogs/default/nope/app"},
		"a pod of the host":       {"uid-a", "/containerLogs/default/foreign/app"},
		"labelled as B's":         {"uid-a", "/containerLogs/default/of-b/app"},
		"of an earlier life":      {"uid-a", "/containerLogs/default/reborn/app"},
		"A's pod asked by B":      {"uid-b", "/containerLogs/default/web/app"},
		"another UID":             {"uid-a", "/exec/default/web/virtual-uid-2/app?command=x&output=1"},
		"the host's own UID":      {"uid-a", "/exec/default/web/host-uid-1/app?command=x&output=1"},
		"a host namespace's name": {"uid-a", "/containerLogs/" + hostNamespace + "/web/app"},
		"no path of a kubelet":    {"uid-a", "/api/v1/namespaces/default/pods/web/log"},
		"statistics":              {"uid-a", "/stats/summary"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			response, _ := f.do(f.kubelet(tc.uid), http.MethodGet, tc.target, nil)
			if response.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s", response.Status, body(t, response))
			}
			f.host.mu.Lock()
			defer f.host.mu.Unlock()
			for _, seen := range f.host.seen {
				for _, subresource := range []string{"/log", "/exec"} {
					if strings.HasSuffix(seen.URL.Path, subresource) {
						t.Errorf("the host was asked for %s", seen.URL)
					}
				}
			}
		})
	}
}

func TestHostErrors(t *testing.T) {
	cases := map[string]struct {
		fail   error
		code   int
		says   string
		hushed string
	}{
		"not started": {apierrors.NewBadRequest(fmt.Sprintf("container \"app\" in pod web_%s(host-uid-1) is waiting to start", hostNamespace)), http.StatusBadRequest, "web_default(virtual-uid-1) is waiting to start", hostNamespace},
		"forbidden":   {apierrors.NewForbidden(corev1.Resource("pods"), "web", fmt.Errorf("User matryoshka-agent cannot")), http.StatusBadGateway, "ask the operator", "matryoshka-agent"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.host.fail = tc.fail
			for _, header := range []http.Header{nil, {"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}}} {
				response, _ := f.do(f.kubelet("uid-a"), http.MethodPost, "/exec/default/web/app?command=x&output=1", header)
				text := body(t, response)
				if response.StatusCode != tc.code || !strings.Contains(text, tc.says) || strings.Contains(text, tc.hushed) {
					t.Errorf("%s %q", response.Status, text)
				}
			}
		})
	}
}

func TestStreamsEndWithTheirTenant(t *testing.T) {
	f := newFixture(t)
	connection := f.kubelet("uid-a")
	response, buffered := f.do(connection, http.MethodPost, "/portForward/default/web", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}})
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response.Status)
	}
	leaving := f.tenant
	leaving.Terminating = true
	f.registry.Set(leaving)
	if _, err := buffered.ReadByte(); err == nil {
		t.Error("the stream goes on")
	}
	waitEnded(t, f)
}

func TestSeveralRequestsInOneTunnel(t *testing.T) {
	f := newFixture(t)
	connection := f.kubelet("uid-a")
	for range 3 {
		response, _ := f.do(connection, http.MethodGet, "/healthz", nil)
		if got := body(t, response); got != "ok" {
			t.Errorf("%s %q", response.Status, got)
		}
	}
}

func TestLimits(t *testing.T) {
	l := newLimits()
	var releases []func()
	for range maxRequestsOfTenant {
		release, ok := l.acquire("uid-a")
		if !ok {
			t.Fatal("refused below the limit")
		}
		releases = append(releases, release)
	}
	if _, ok := l.acquire("uid-a"); ok {
		t.Error("there is no limit")
	}
	if _, ok := l.acquire("uid-b"); !ok {
		t.Error("one tenant's streams hold up another's")
	}
	releases[0]()
	if _, ok := l.acquire("uid-a"); !ok {
		t.Error("a place is not given back")
	}
}
