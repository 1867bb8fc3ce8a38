package virtualcluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// newFakeServer is a tenant's API server as far as probes and watches go. It accepts only clients of the tenant's CA.
func newFakeServer(t *testing.T, tenant *pki.Tenant, clock *clocktesting.FakePassiveClock, handler http.HandlerFunc) *http.Server {
	t.Helper()
	files, err := tenant.ControlPlaneFiles(nil, pki.Names{UID: "u", ID: "x7k2p7q4", ServiceAddresses: []string{"10.0.0.1"}}, tenant.Client, clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(files["serving.crt"], files["serving.key"])
	if err != nil {
		t.Fatal(err)
	}
	return &http.Server{
		Handler: handler,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientCAs: tenant.Client.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
			NextProtos: []string{"h2"}, Time: clock.Now,
			VerifyConnection: func(state tls.ConnectionState) error {
				_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
					Roots: tenant.Client.Pool(), CurrentTime: clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
				})
				return err
			},
		},
	}
}

// serve lets a server serve until the test ends.
func serve(t *testing.T, server *http.Server, listener net.Listener) {
	t.Helper()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_ = server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() {
		server.Close()
		<-finished
	})
}

// fakeServer serves on an address of its own, and counts the connections.
func fakeServer(t *testing.T, tenant *pki.Tenant, clock *clocktesting.FakePassiveClock, handler http.HandlerFunc) (address string, opened *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opened = &atomic.Int32{}
	server := newFakeServer(t, tenant, clock, handler)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	serve(t, server, listener)
	return listener.Addr().String(), opened
}

func newTestConnection(t *testing.T, handler http.HandlerFunc) (*connections, *pki.Tenant, *clocktesting.FakePassiveClock, *atomic.Int32) {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(start)
	tenant, err := pki.EnsureTenant(nil, "x7k2p7q4", start)
	if err != nil {
		t.Fatal(err)
	}
	address, opened := fakeServer(t, tenant, clock, handler)
	options := &Options{Clock: clock, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	return newConnections(options), tenant, clock, opened
}

func ready(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func TestConnectionOutlivesItsCertificate(t *testing.T) {
	all, tenant, clock, opened := newTestConnection(t, ready)
	for day := range 100 {
		clock.SetTime(start.Add(time.Duration(day) * 12 * time.Hour))
		connection, err := all.get("u", tenant, "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.probe(t.Context()); err != nil {
			t.Fatalf("after %s: %v", clock.Since(start), err)
		}
	}
	// 50 days are two renewals.
	if got := opened.Load(); got != 3 {
		t.Errorf("%d connections were opened, want one and one more for each renewal", got)
	}
	all.forget("u")
}

// A certificate that was made while the agent's clock was days ahead is of no use when it is right again.
func TestConnectionOutlivesAClockThatWasAhead(t *testing.T) {
	all, tenant, clock, opened := newTestConnection(t, ready)
	for _, ahead := range []time.Duration{3 * 24 * time.Hour, 0} {
		clock.SetTime(start.Add(ahead))
		connection, err := all.get("u", tenant, "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.probe(t.Context()); err != nil {
			t.Errorf("%s ahead: %v", ahead, err)
		}
	}
	if got := opened.Load(); got != 2 {
		t.Errorf("%d connections were opened, want one by each clock", got)
	}
	all.forget("u")
}

func TestConnectionChangesWithTheTenant(t *testing.T) {
	all, tenant, _, _ := newTestConnection(t, ready)
	first, err := all.get("u", tenant, "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := all.get("u", tenant, "10.0.0.1"); again != first {
		t.Error("nothing has changed but the connection")
	}
	if moved, _ := all.get("u", tenant, "10.0.0.2"); moved == first {
		t.Error("the connection still leads to the old address")
	}
	other, err := pki.EnsureTenant(nil, "x7k2p7q4", start)
	if err != nil {
		t.Fatal(err)
	}
	if renewed, _ := all.get("u", other, "10.0.0.2"); renewed.fingerprint == first.fingerprint {
		t.Error("the connection trusts the old authorities")
	}
}

func TestProbe(t *testing.T) {
	cases := map[string]struct {
		status int
		want   string
	}{
		"Ready":        {status: http.StatusOK},
		"NotReady":     {status: http.StatusInternalServerError, want: "/readyz answers 500 Internal Server Error"},
		"Unauthorized": {status: http.StatusUnauthorized, want: "/readyz answers 401 Unauthorized"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all, tenant, _, _ := newTestConnection(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tc.status)
			})
			connection, err := all.get("u", tenant, "10.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := connection.probe(t.Context()); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			all.forget("u")
		})
	}
}

// A tenant who owns its API server may answer with a redirect to whatever the agent's pod can reach.
func TestConnectionFollowsNobodyElsewhere(t *testing.T) {
	var reached atomic.Int32
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	go func() {
		for {
			connection, err := other.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			connection.Close()
		}
	}()
	all, tenant, _, _ := newTestConnection(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+other.Addr().String()+"/", http.StatusTemporaryRedirect)
	})
	all.options.Dial = dialBy(all.options.Dial, other.Addr().String())
	connection, err := all.get("u", tenant, "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.probe(t.Context()); err == nil {
		t.Error("a redirect of /readyz was followed")
	}
	if _, err := connection.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{}, metav1.CreateOptions{}); err == nil {
		t.Error("a redirect of a request was followed")
	}
	// Whatever becomes of redirects, the connection itself leads to one address only.
	_, err = connection.transport.DialContext(t.Context(), "tcp", other.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "only 10.0.0.1:443 is its own") {
		t.Errorf("got %v, want a refusal", err)
	}
	if reached.Load() != 0 {
		t.Error("somebody else's server was reached")
	}
	all.forget("u")
}

// dialBy reaches other as it is, and everything else as before.
func dialBy(before func(context.Context, string, string) (net.Conn, error), other string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == other {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		return before(ctx, network, address)
	}
}
