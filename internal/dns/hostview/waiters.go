package hostview

import (
	"net/netip"
	"sync"
)

// Bounds of the questions that wait for their source to become known.
const (
	maxWaiting          = 2048
	maxWaitingOfAddress = 16
)

// waiters are questions from addresses that no pod has yet. The zero value is ready for use.
type waiters struct {
	mu sync.Mutex
	// The following are protected by mu.
	byAddress map[netip.Addr]map[chan struct{}]bool
	count     int
}

// join returns a channel that receives a value after a pod with the address was seen. ok is false when too many wait.
func (w *waiters) join(address netip.Addr) (seen <-chan struct{}, leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= maxWaiting || len(w.byAddress[address]) >= maxWaitingOfAddress {
		return nil, nil, false
	}
	if w.byAddress == nil {
		w.byAddress = map[netip.Addr]map[chan struct{}]bool{}
	}
	if w.byAddress[address] == nil {
		w.byAddress[address] = map[chan struct{}]bool{}
	}
	channel := make(chan struct{}, 1)
	w.byAddress[address][channel] = true
	w.count++
	return channel, func() { w.leave(address, channel) }, true
}

func (w *waiters) leave(address netip.Addr, channel chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byAddress[address], channel)
	if len(w.byAddress[address]) == 0 {
		delete(w.byAddress, address)
	}
	w.count--
}

func (w *waiters) wake(address netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for channel := range w.byAddress[address] {
		select {
		case channel <- struct{}{}:
		default: // it has been woken and has not looked yet
		}
	}
}
