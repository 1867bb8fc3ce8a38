package controlplane

import (
	"errors"
	"net"
	"sync"
)

// closable is a listener whose connections can be closed all at once. An API server that stops has answered its requests long
// before it stops waiting, for a second, for the other ends to close their connections.
type closable struct {
	net.Listener

	mu          sync.Mutex
	connections map[*tracked]struct{}
	closed      bool
}

func newClosable(listener net.Listener) *closable {
	return &closable{Listener: listener, connections: map[*tracked]struct{}{}}
}

// Accept implements net.Listener.
func (l *closable) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	connection := &tracked{Conn: accepted, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(net.ErrClosed, accepted.Close())
	}
	l.connections[connection] = struct{}{}
	return connection, nil
}

// closeConnections closes those that are there; there will be no others.
func (l *closable) closeConnections() {
	l.mu.Lock()
	l.closed = true
	connections := l.connections
	l.connections = map[*tracked]struct{}{}
	l.mu.Unlock()
	for connection := range connections {
		// Whoever has it sees it closed; there is nobody to tell.
		_ = connection.Conn.Close()
	}
}

type tracked struct {
	net.Conn
	listener *closable
}

// Close implements net.Conn.
func (c *tracked) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.connections, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
