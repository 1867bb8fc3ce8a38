package virtualcluster

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// silentNetwork is a network in memory, of which the connections that are open can go silent: what is sent is lost, and nobody
// says so.
type silentNetwork struct {
	accepted  chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once

	mu   sync.Mutex
	open []*silentConnection // protected by mu
}

type silentConnection struct {
	net.Conn
	isSilent  atomic.Bool
	closed    chan struct{}
	closeOnce sync.Once
}

func (n *silentNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.accepted <- server:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	connection := &silentConnection{Conn: client, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = append(n.open, connection)
	return connection, nil
}

func (n *silentNetwork) goSilent() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, connection := range n.open {
		connection.isSilent.Store(true)
	}
}

// Accept implements net.Listener.
func (n *silentNetwork) Accept() (net.Conn, error) {
	select {
	case connection := <-n.accepted:
		return connection, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *silentNetwork) Close() error {
	n.closeOnce.Do(func() { close(n.closed) })
	return nil
}

// Addr implements net.Listener.
func (n *silentNetwork) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// Read implements net.Conn.
func (c *silentConnection) Read(p []byte) (int, error) {
	read, err := c.Conn.Read(p)
	if c.isSilent.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return read, err
}

// Write implements net.Conn.
func (c *silentConnection) Write(p []byte) (int, error) {
	if c.isSilent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *silentConnection) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// readyAndWatched answers probes at once, and never ends a watch.
func readyAndWatched(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("watch") {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// A control plane whose node dies sends nothing, not even a reset. The connection must be given up, with all watches on it, and
// the next request goes over another one.
func TestConnectionThatGoesSilentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant, err := pki.EnsureTenant(nil, "x7k2p7q4", start)
		if err != nil {
			t.Fatal(err)
		}
		clock := clocktesting.NewFakePassiveClock(start)
		network := &silentNetwork{accepted: make(chan net.Conn), closed: make(chan struct{})}
		serve(t, newFakeServer(t, tenant, clock, readyAndWatched), network)
		all := newConnections(&Options{Clock: clock, Dial: network.dial})
		connection, err := all.get("u", tenant, "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		defer all.forget("u")
		watched, err := connection.client.CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer watched.Stop()
		network.goSilent()
		began := time.Now()
		for event := range watched.ResultChan() {
			if event.Type != watch.Error {
				t.Errorf("the watch told of %v", event)
			}
		}
		if took := time.Since(began); took > 40*time.Second || took < 30*time.Second {
			t.Errorf("the watch ended after %s, want 30 seconds of silence and 10 for the answer to a ping", took)
		}
		if err := connection.probe(t.Context()); err != nil {
			t.Errorf("over a new connection: %v", err)
		}
	})
}
