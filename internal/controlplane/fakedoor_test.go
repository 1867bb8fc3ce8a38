package controlplane_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const (
	doorName = "matryoshka-agent.matryoshka-system.svc"
	nodeIP   = "192.0.2.10"
)

// fakeDoors speaks the doors' protocols; what it hands out is remembered by Service as a host would.
type fakeDoors struct {
	tls     *tls.Config
	kubelet *tls.Config

	mu       sync.Mutex
	asked    []reservation.Request
	kept     map[string]corev1.ServiceSpec
	connects []string
	deny     error
	hangUps  int
	running  sync.WaitGroup
}

// newFakeDoors starts both doors and returns the configuration that names them.
func newFakeDoors(t *testing.T, authorities *testenv.Authorities) (*fakeDoors, *config.Doors) {
	t.Helper()
	clients := x509.NewCertPool()
	clients.AddCert(authorities.Door.Cert)
	server := authorities.Door.Issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "door"}, DNSNames: []string{doorName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	kubelet := authorities.Kubelet.Issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "kubelet"}, IPAddresses: []net.IP{net.ParseIP(nodeIP)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	d := &fakeDoors{
		kept: map[string]corev1.ServiceSpec{},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
			Certificates: []tls.Certificate{{Certificate: [][]byte{server.Cert.Raw}, PrivateKey: server.Key}},
		},
		kubelet: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{{Certificate: [][]byte{kubelet.Cert.Raw}, PrivateKey: kubelet.Key}},
		},
	}
	addresses, kubelets := d.listen(t), d.listen(t)
	addressServer := &http.Server{Handler: http.HandlerFunc(d.reserve)}
	d.running.Go(func() { _ = addressServer.Serve(addresses) })
	d.running.Go(func() { d.serveKubelets(kubelets) })
	t.Cleanup(func() {
		_ = addressServer.Close()
		_ = kubelets.Close()
		d.running.Wait()
	})
	return d, &config.Doors{
		KubeletAddress: kubelets.Addr().String(), ServiceAddress: addresses.Addr().String(), ServerName: doorName,
	}
}

func (d *fakeDoors) listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", d.tls)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (d *fakeDoors) reserve(w http.ResponseWriter, r *http.Request) {
	ask := reservation.Request{}
	if err := json.NewDecoder(io.LimitReader(r.Body, reservation.MaxBytes)).Decode(&ask); err != nil || r.URL.Path != reservation.Path {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, ask)
	if d.hangUps > 0 {
		d.hangUps--
		reset(w)
		return
	}
	var status apierrors.APIStatus
	if d.deny != nil {
		status, _ = d.deny.(apierrors.APIStatus)
		w.WriteHeader(int(status.Status().Code))
		_ = json.NewEncoder(w).Encode(status.Status())
		return
	}
	_ = json.NewEncoder(w).Encode(reservation.Response{Spec: d.allocate(ask)})
}

// reset breaks the connection of a request, so that the error of whoever waits names both its ends.
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	raw := connection.(*tls.Conn).NetConn().(*net.TCPConn)
	_ = raw.SetLinger(0)
	_ = raw.Close()
}

// allocate hands out addresses from all over IPv4: the host may have any range.
func (d *fakeDoors) allocate(ask reservation.Request) corev1.ServiceSpec {
	key := ask.Service.Namespace + "/" + ask.Service.Name
	kept, ok := d.kept[key]
	if !ok {
		ip := fmt.Sprintf("%d.20.0.%d", 10+60*(len(d.kept)%4), 1+len(d.kept))
		kept = corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}}
	}
	kept.Ports = slices.Clone(ask.Service.Spec.Ports)
	for i := range kept.Ports {
		if kept.Ports[i].NodePort == 0 {
			kept.Ports[i].NodePort = 61000 + int32(len(d.kept)*10+i)
		}
	}
	kept.HealthCheckNodePort = 100 + int32(len(d.kept))
	if !ask.DryRun {
		d.kept[key] = kept
	}
	return kept
}

func (d *fakeDoors) serveKubelets(l net.Listener) {
	for {
		connection, err := l.Accept()
		if err != nil {
			return
		}
		d.running.Go(func() { d.tunnel(connection) })
	}
}

// tunnel answers CONNECT and is then a kubelet with one container log.
func (d *fakeDoors) tunnel(connection net.Conn) {
	defer connection.Close()
	request, err := http.ReadRequest(bufio.NewReader(connection))
	if err != nil {
		return
	}
	d.mu.Lock()
	d.connects = append(d.connects, request.Method+" "+request.Host)
	d.mu.Unlock()
	if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	inner := tls.Server(connection, d.kubelet)
	kubeletRequest, err := http.ReadRequest(bufio.NewReader(inner))
	if err != nil {
		return
	}
	body := "log of " + kubeletRequest.URL.Path
	_, _ = fmt.Fprintf(inner, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}

func (d *fakeDoors) requests() []reservation.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

func (d *fakeDoors) refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deny = err
}

// hangUp leaves so many of the next requests without an answer.
func (d *fakeDoors) hangUp(requests int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangUps = requests
}

// given is what the host reserved for a Service.
func (d *fakeDoors) given(key string) corev1.ServiceSpec {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept[key]
}
