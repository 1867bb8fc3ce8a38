package faults

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// dialTimeout bounds reaching the server, which is on the same machine.
const dialTimeout = 10 * time.Second

// Link is a network between clients and one server that can go silent: nothing is closed or refused, as when a firewall
// forgets a connection or a cable is cut. It is safe for concurrent use.
type Link struct {
	target   string
	listener net.Listener
	group    sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	// The following are protected by mu.
	isCut  bool
	closed bool
	open   map[*connection]bool
}

// connection is one that was accepted, and the one to the server. frozen is protected by Link.mu.
type connection struct {
	client, server net.Conn
	frozen         bool
}

// NewLink makes a link to the server of config, and returns it with a configuration that leads through it. It ends with the
// test.
func NewLink(t testing.TB, config *rest.Config) (*Link, *rest.Config) {
	t.Helper()
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatalf("read the address of the server: %v", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	link := &Link{target: target.Host, listener: listener, open: map[*connection]bool{}}
	link.changed = sync.NewCond(&link.mu)
	link.group.Go(link.accept)
	t.Cleanup(link.close)
	config = rest.CopyConfig(config)
	target.Host = listener.Addr().String()
	config.Host = target.String()
	return link, config
}

// Freeze makes the connections that are open silent for ever. New ones work.
func (l *Link) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.frozen = true
	}
}

// Cut makes everything silent, new connections too, until Heal.
func (l *Link) Cut() { l.setCut(true) }

// Heal ends a cut. What was under way arrives then.
func (l *Link) Heal() { l.setCut(false) }

func (l *Link) setCut(isCut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = isCut
	l.changed.Broadcast()
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.group.Go(func() { l.serve(client) })
	}
}

func (l *Link) serve(client net.Conn) {
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		_ = client.Close()
		return
	}
	c := &connection{client: client, server: server}
	if !l.add(c) {
		c.close()
		return
	}
	l.group.Go(func() { l.carry(c, server, client) })
	l.carry(c, client, server)
}

func (l *Link) add(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.open[c] = true
	}
	return !l.closed
}

func (c *connection) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}

// carry brings bytes from one side to the other, and ends both when one ends.
func (l *Link) carry(c *connection, from, to net.Conn) {
	defer l.drop(c)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !l.pass(c) {
			return
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// pass waits as long as the connection is silent; false means that the link is closed.
func (l *Link) pass(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (l.isCut || c.frozen) && !l.closed {
		l.changed.Wait()
	}
	return !l.closed
}

func (l *Link) drop(c *connection) {
	c.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *Link) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	for c := range l.open {
		c.close()
	}
	l.changed.Broadcast()
	l.mu.Unlock()
	l.group.Wait()
}
