package kubeletdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Bounds of open tunnels. One carries one request or stream at a time.
const (
	maxTunnelsOfTenant = 512
	maxTunnels         = 16384
)

// tunnel is one connection to a "kubelet", from when its owner is known until it is closed.
type tunnel struct {
	owner       types.UID
	node        string
	certificate *tls.Certificate
	closed      func()

	mu sync.Mutex
	// Conn is protected by mu until the tunnel is handed on; it is nil before the TLS inside begins.
	net.Conn
	isClosed bool
}

func (t *tunnel) set(connection net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Conn = connection
	if t.isClosed {
		_ = connection.Close()
	}
}

// Close closes the connection and forgets the tunnel. It may be called more than once and at any time.
func (t *tunnel) Close() error {
	t.mu.Lock()
	connection, again := t.Conn, t.isClosed
	t.isClosed = true
	t.mu.Unlock()
	if again {
		return nil
	}
	t.closed()
	if connection == nil {
		return nil
	}
	return connection.Close()
}

type tunnelKey struct{}

// withTunnel lets the handler know over which tunnel a request came.
func withTunnel(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, tunnelKey{}, connection)
}

func tunnelOf(ctx context.Context) (*tunnel, bool) {
	t, ok := ctx.Value(tunnelKey{}).(*tunnel)
	return t, ok
}

// tunnels are all open tunnels.
type tunnels struct {
	mu sync.Mutex
	// The following are protected by mu.
	byOwner map[types.UID]map[*tunnel]bool
	count   int
	open    sync.WaitGroup
}

func newTunnels() *tunnels { return &tunnels{byOwner: map[types.UID]map[*tunnel]bool{}} }

var errTooManyTunnels = errors.New("this virtual cluster has too many connections to kubelets open; close some of its logs, exec and port-forward streams")

func (s *tunnels) add(t *tunnel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= maxTunnels || len(s.byOwner[t.owner]) >= maxTunnelsOfTenant {
		return errTooManyTunnels
	}
	if s.byOwner[t.owner] == nil {
		s.byOwner[t.owner] = map[*tunnel]bool{}
	}
	s.byOwner[t.owner][t] = true
	s.count++
	s.open.Add(1)
	t.closed = func() { s.remove(t) }
	return nil
}

func (s *tunnels) remove(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byOwner[t.owner], t)
	if len(s.byOwner[t.owner]) == 0 {
		delete(s.byOwner, t.owner)
	}
	s.count--
	s.open.Done()
}

func (s *tunnels) owners() []types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	owners := make([]types.UID, 0, len(s.byOwner))
	for owner := range s.byOwner {
		owners = append(owners, owner)
	}
	return owners
}

func (s *tunnels) closeOf(owner types.UID) {
	s.mu.Lock()
	var list []*tunnel
	for t := range s.byOwner[owner] {
		list = append(list, t)
	}
	s.mu.Unlock()
	for _, t := range list {
		// The peer sees the end; there is nobody else to tell.
		_ = t.Close()
	}
}

func (s *tunnels) closeAll() {
	for _, owner := range s.owners() {
		s.closeOf(owner)
	}
}

func (s *tunnels) wait() { s.open.Wait() }

// queue is the listener of the kubelet server: it accepts the tunnels that stand.
type queue struct {
	tunnels chan *tunnel
	closed  chan struct{}
	once    sync.Once
}

func newQueue() *queue { return &queue{tunnels: make(chan *tunnel), closed: make(chan struct{})} }

func (q *queue) put(t *tunnel) error {
	select {
	case q.tunnels <- t:
		return nil
	case <-q.closed:
		return net.ErrClosed
	}
}

// Accept returns the next tunnel.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case t := <-q.tunnels:
		return t, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr is a name, since a tunnel has no address.
func (q *queue) Addr() net.Addr { return tunnelAddr{} }

type tunnelAddr struct{}

// Network of a tunnel.
func (tunnelAddr) Network() string { return "tunnel" }

// String is a name for logs.
func (tunnelAddr) String() string { return "kubelet door" }
