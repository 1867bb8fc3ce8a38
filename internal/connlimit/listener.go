// Package connlimit bounds the connections that a listener hands out, in all and from one address.
//
// It knows nothing of what is spoken on them. It stands below TLS, so that a connection counts from its first packet on and
// a source that never says anything takes no more than its share.
package connlimit

import (
	"net"
	"net/netip"
	"sync"
)

// Listener closes connections of a source that holds too many already.
type Listener struct {
	net.Listener
	most, mostOfSource int

	mu sync.Mutex
	// The following are protected by mu.
	bySource map[netip.Addr]int
	count    int
}

// New bounds a listener to most connections at a time, and mostOfSource of one address.
func New(listener net.Listener, most, mostOfSource int) *Listener {
	return &Listener{Listener: listener, most: most, mostOfSource: mostOfSource, bySource: map[netip.Addr]int{}}
}

// Accept returns the next connection that is within the bounds.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := netip.Addr{}
		if address, ok := accepted.RemoteAddr().(*net.TCPAddr); ok {
			source = address.AddrPort().Addr().Unmap()
		}
		if l.enter(source) {
			return &connection{Conn: accepted, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		// Nothing was written; there is nothing to lose.
		_ = accepted.Close()
	}
}

func (l *Listener) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= l.most || l.bySource[source] >= l.mostOfSource {
		return false
	}
	l.count++
	l.bySource[source]++
	return true
}

func (l *Listener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	l.bySource[source]--
	if l.bySource[source] == 0 {
		delete(l.bySource, source)
	}
}

type connection struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (c *connection) Close() error {
	c.leave()
	return c.Conn.Close()
}
