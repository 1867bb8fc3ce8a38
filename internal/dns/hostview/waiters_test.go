package hostview

import (
	"net/netip"
	"testing"
)

func TestWaiters(t *testing.T) {
	var w waiters
	first, second := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	seen, leave, ok := w.join(first)
	if !ok {
		t.Fatal("refused below the limit")
	}
	w.wake(second)
	select {
	case <-seen:
		t.Fatal("woken for another address")
	default:
	}
	// Twice before the waiter looks must neither block nor be lost.
	w.wake(first)
	w.wake(first)
	<-seen
	leave()

	var leaves []func()
	for range maxWaitingOfAddress {
		_, leave, ok := w.join(first)
		if !ok {
			t.Fatal("refused below the limit")
		}
		leaves = append(leaves, leave)
	}
	if _, _, ok := w.join(first); ok {
		t.Error("one address may wait without limit")
	}
	if _, leave, ok := w.join(second); !ok {
		t.Error("one address holds up another")
	} else {
		leave()
	}
	for _, leave := range leaves {
		leave()
	}
	if w.count != 0 || len(w.byAddress) != 0 {
		t.Errorf("%d waiters and %d addresses are left", w.count, len(w.byAddress))
	}
}
