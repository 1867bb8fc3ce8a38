package frontdoor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is a front door with one tenant, x7k2p7q4, whose control plane is a listener of the test.
type door struct {
	address string
	backend net.Listener
	stop    func() error
}

func openDoor(t *testing.T, change func(*Server)) *door {
	t.Helper()
	backend := listen(t)
	registry := tenants.NewRegistry()
	registry.Set(tenants.Tenant{ID: "x7k2p7q4", UID: "u", Namespace: "demo", Name: "hello"})
	registry.Set(tenants.Tenant{ID: "gone2222", UID: "g", Terminating: true})
	server := &Server{
		Registry: registry,
		Log:      slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, tenant tenants.Tenant) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", backend.Addr().String())
		},
	}
	if change != nil {
		change(server)
	}
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- server.Serve(ctx, listener) }()
	d := &door{address: listener.Addr().String(), backend: backend}
	d.stop = func() error {
		cancel()
		select {
		case err := <-result:
			result <- err
			return err
		case <-time.After(10 * time.Second):
			return errors.New("the front door did not stop")
		}
	}
	t.Cleanup(func() {
		backend.Close()
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// hello is the ClientHello that a client sends for a server name.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}).Handshake()
		near.Close()
	}()
	buffer := make([]byte, maxHello)
	n, err := far.Read(buffer)
	far.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

func TestHTTPSThroughTheDoor(t *testing.T) {
	authority, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	name := "x7k2p7q4.vc.matryoshka.internal"
	pair, err := authority.Issue(pki.Leaf{CommonName: "x", DNSNames: []string{name}, Usage: x509.ExtKeyUsageServerAuth, Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	d := openDoor(t, nil)
	payload := strings.Repeat("matryoshka", 200_000)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, payload) })}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(tls.NewListener(d.backend, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: name}}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	response, err := client.Get("https://" + d.address)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || string(body) != payload {
		t.Errorf("got %d bytes, %v, want %d", len(body), err, len(payload))
	}
	transport.CloseIdleConnections()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	<-served
}

func TestRefusals(t *testing.T) {
	cases := map[string]struct {
		name string
		want byte
	}{
		"UnknownID":    {name: "aaaaaaaa.vc.matryoshka.internal", want: alertUnrecognizedName},
		"OtherDomain":  {name: "x7k2p7q4.example.com", want: alertUnrecognizedName},
		"Deeper":       {name: "a.x7k2p7q4.vc.matryoshka.internal", want: alertUnrecognizedName},
		"Terminating":  {name: "gone2222.vc.matryoshka.internal", want: alertUnrecognizedName},
		"NoServerName": {name: "", want: alertUnrecognizedName},
	}
	d := openDoor(t, nil)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, d.address)
			if _, err := conn.Write(hello(t, tc.name)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(answer, alert(tc.want)) {
				t.Errorf("got %x, %v, want the alert %d", answer, err, tc.want)
			}
		})
	}
}

func TestNoTLSIsClosed(t *testing.T) {
	conn := dial(t, openDoor(t, nil).address)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x7k2p7q4.vc.matryoshka.internal\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); len(answer) != 0 {
		t.Errorf("got the answer %q, want none", answer)
	}
}

func TestUnreachableControlPlane(t *testing.T) {
	d := openDoor(t, func(s *Server) {
		s.Dial = func(context.Context, tenants.Tenant) (net.Conn, error) { return nil, errors.New("refused") }
	})
	conn := dial(t, d.address)
	if _, err := conn.Write(hello(t, "x7k2p7q4.vc.matryoshka.internal")); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); !bytes.Equal(answer, alert(alertInternalError)) {
		t.Errorf("got %x, want the alert %d", answer, alertInternalError)
	}
}

// connect opens a connection through the door and returns both of its ends.
func connect(t *testing.T, d *door) (client, backend net.Conn) {
	t.Helper()
	client = dial(t, d.address)
	greeting := hello(t, "X7k2p7q4.vc.matryoshka.internal")
	if _, err := client.Write(greeting); err != nil {
		t.Fatal(err)
	}
	backend, err := d.backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	if err := backend.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(greeting))
	if _, err := io.ReadFull(backend, got); err != nil || !bytes.Equal(got, greeting) {
		t.Fatalf("the control plane got %x, %v, want what the client sent", got, err)
	}
	return client, backend
}

func TestHalfClose(t *testing.T) {
	client, backend := connect(t, openDoor(t, nil))
	if _, err := io.WriteString(client, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(backend); err != nil || string(got) != "last words" {
		t.Fatalf("the control plane got %q, %v", got, err)
	}
	if _, err := io.WriteString(backend, "answer"); err != nil {
		t.Fatal(err)
	}
	backend.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Fatalf("the client got %q, %v", got, err)
	}
}

func TestStopClosesConnections(t *testing.T) {
	d := openDoor(t, nil)
	client, _ := connect(t, d)
	idle := dial(t, d.address) // has not said anything yet
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"passed on": client, "idle": idle} {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("the connection that is %s is still open", name)
		}
	}
}

func TestLimits(t *testing.T) {
	cases := map[string]func(*Server){
		"Total":     func(s *Server) { s.MaxConnections = 1 },
		"PerTenant": func(s *Server) { s.MaxConnectionsPerTenant = 1 },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t, change)
			client, backend := connect(t, d)
			second := dial(t, d.address)
			// The door may close the connection before it has read this.
			_, _ = second.Write(hello(t, "x7k2p7q4.vc.matryoshka.internal"))
			if _, err := io.ReadAll(second); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection above the limit is open")
			}
			client.Close()
			if _, err := io.ReadAll(backend); err != nil {
				t.Fatal(err)
			}
			backend.Close()
			waitUntil(t, func() bool { return isServed(t, d) })
		})
	}
}

// isServed tells whether a new connection is passed on.
func isServed(t *testing.T, d *door) bool {
	conn := dial(t, d.address)
	defer conn.Close()
	_, _ = conn.Write(hello(t, "x7k2p7q4.vc.matryoshka.internal"))
	if err := d.backend.(*net.TCPListener).SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	backend, err := d.backend.Accept()
	if err != nil {
		return false
	}
	backend.Close()
	return true
}

func waitUntil(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come true")
		}
	}
}

func FuzzReadServerName(f *testing.F) {
	f.Add(hello(f, "x7k2p7q4.vc.matryoshka.internal"))
	f.Add(hello(f, ""))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{22, 3, 1, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		name, seen, err := readServerName(t.Context(), bytes.NewReader(data))
		if !bytes.HasPrefix(data, seen) {
			t.Errorf("the bytes to pass on are not those that were read")
		}
		if err == nil && name == "" {
			t.Error("no name and no error")
		}
	})
}
