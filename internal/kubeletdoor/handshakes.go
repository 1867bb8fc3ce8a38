package kubeletdoor

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of connections that have not proved who they are yet.
const (
	maxHandshakes         = 1024
	maxHandshakesOfSource = 64
)

// handshakes counts connections by their source. The zero value is ready for use.
type handshakes struct {
	mu sync.Mutex
	// The following are protected by mu.
	bySource map[netip.Addr]int
	count    int
}

func (h *handshakes) enter(remote net.Addr) (leave func(), ok bool) {
	source := netip.Addr{}
	if address, ok := remote.(*net.TCPAddr); ok {
		source = address.AddrPort().Addr().Unmap()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= maxHandshakes || h.bySource[source] >= maxHandshakesOfSource {
		return nil, false
	}
	if h.bySource == nil {
		h.bySource = map[netip.Addr]int{}
	}
	h.bySource[source]++
	h.count++
	return func() { h.leave(source) }, true
}

func (h *handshakes) leave(source netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
	h.bySource[source]--
	if h.bySource[source] == 0 {
		delete(h.bySource, source)
	}
}
