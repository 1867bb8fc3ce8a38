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
		NodeAddress: func(_ context.Context, tenant tenants.Tenant, node string) (string, bool, error) {
			return nodeIP, node == nodeName || node == "of-b" && tenant.ID == "bbbbbbbb", nil
		},
		Log: slog.New(slog.DiscardHandler),
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

// dial opens the outer connection, asks for a node and returns the code of the answer.
func (f *fixture) dial(certificate *tls.Certificate, node string) (net.Conn, int, error) {
	raw, err := net.Dial("tcp", f.address)
	if err != nil {
		return nil, 0, err
	}
	f.t.Cleanup(func() { raw.Close() })
	if err := raw.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, 0, err
	}
	outer := tls.Client(raw, &tls.Config{RootCAs: f.doorCA.pool, ServerName: "door", Certificates: []tls.Certificate{*certificate}})
	if _, err := fmt.Fprintf(outer, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", node, node); err != nil {
		return nil, 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(outer), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, 0, err
	}
	f.t.Cleanup(func() {
		// The body of a granted CONNECT is the tunnel, and closing it reads the tunnel to its end.
		raw.Close()
		response.Body.Close()
	})
	return outer, response.StatusCode, nil
}

// kubelet opens a tunnel to the node and trusts the tenant's kubelet CA, as an API server does.
func (f *fixture) kubelet(uid types.UID) net.Conn {
	f.t.Helper()
	outer, code, err := f.dial(f.doorCA.client(f.t, uid), nodeName+":10250")
	if err != nil || code != http.StatusOK {
		f.t.Fatalf("tunnel of %s: %d %v", uid, code, err)
	}
	inner := tls.Client(outer, &tls.Config{RootCAs: f.kubelets.pool, ServerName: nodeIP, NextProtos: []string{"h2", "http/1.1"}})
	if err := inner.Handshake(); err != nil {
		f.t.Fatal(err)
	}
	return inner
}

// answer is a response whose body the fixture closes.
type answer struct {
	code   int
	header http.Header
	body   io.Reader
}

func (f *fixture) do(connection net.Conn, method, target string, header http.Header) (answer, *bufio.Reader) {
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
	f.t.Cleanup(func() {
		// A log that is followed has no other end.
		connection.Close()
		response.Body.Close()
	})
	return answer{code: response.StatusCode, header: response.Header, body: response.Body}, buffered
}

func (f *fixture) lastSeen() *http.Request {
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	return f.host.seen[len(f.host.seen)-1]
}

func body(t *testing.T, response answer) string {
	t.Helper()
	text, err := io.ReadAll(response.body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
