package dns

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of TCP connections. An idle one is closed after some seconds.
const (
	maxConnections         = 4096
	maxConnectionsOfSource = 64
)

// boundedListener closes connections of a source that holds too many already.
type boundedListener struct {
	net.Listener
	mu sync.Mutex
	// The following are protected by mu.
	bySource map[netip.Addr]int
	count    int
}

func newBoundedListener(listener net.Listener) *boundedListener {
	return &boundedListener{Listener: listener, bySource: map[netip.Addr]int{}}
}

// Accept returns the next connection that is within the bounds.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := netip.Addr{}
		if address, ok := connection.RemoteAddr().(*net.TCPAddr); ok {
			source = address.AddrPort().Addr().Unmap()
		}
		if l.enter(source) {
			return &boundedConnection{Conn: connection, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		// Nothing was written; there is nothing to lose.
		_ = connection.Close()
	}
}

func (l *boundedListener) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= maxConnections || l.bySource[source] >= maxConnectionsOfSource {
		return false
	}
	l.count++
	l.bySource[source]++
	return true
}

func (l *boundedListener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	l.bySource[source]--
	if l.bySource[source] == 0 {
		delete(l.bySource, source)
	}
}

type boundedConnection struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (c *boundedConnection) Close() error {
	c.leave()
	return c.Conn.Close()
}
