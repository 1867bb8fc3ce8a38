package frontdoor

import "sync"

// bell wakes everybody who waits for the registry to change.
type bell struct {
	mu   sync.Mutex
	rung chan struct{} // protected by mu; closed by ring
}

func newBell() *bell { return &bell{rung: make(chan struct{})} }

// next is closed at the next ring.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rung)
	b.rung = make(chan struct{})
}
