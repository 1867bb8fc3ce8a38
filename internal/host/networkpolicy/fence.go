package networkpolicy

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Fence returns when the rules in the kernel hold for the pod at this address, of which the API may not know yet. No
// container of the pod may start before: a policy holds from a pod's first instant. When ctx ends first, it is an error.
func (c *Controller) Fence(ctx context.Context, pod types.UID, address netip.Addr) error {
	enforced, forget := c.fences.expect(pod, address)
	defer forget()
	c.trigger()
	select {
	case <-enforced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until network policies hold for the pod at %s: %w", address, context.Cause(ctx))
	}
}

// fences know which pods the rules hold for, and who waits for that.
type fences struct {
	mu sync.Mutex
	// told are addresses by the runtime, which knows them first. They stay for as long as the pod does: each later address
	// is told too, before a container runs at it.
	told map[types.UID]netip.Addr
	// enforced are the pods, with their addresses, that the kernel's rules were made for.
	enforced map[types.UID]netip.Addr
	waiting  map[*waiter]struct{}
}

type waiter struct {
	pod      types.UID
	address  netip.Addr
	enforced chan struct{}
}

func newFences() *fences {
	return &fences{told: map[types.UID]netip.Addr{}, enforced: map[types.UID]netip.Addr{}, waiting: map[*waiter]struct{}{}}
}

// expect notes an address and returns a channel that is closed once it is enforced; forget ends the waiting.
func (f *fences) expect(pod types.UID, address netip.Addr) (enforced <-chan struct{}, forget func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told[pod] = address
	w := &waiter{pod: pod, address: address, enforced: make(chan struct{})}
	if f.enforced[pod] == address {
		close(w.enforced)
		return w.enforced, func() {}
	}
	f.waiting[w] = struct{}{}
	return w.enforced, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waiting, w)
	}
}

// addresses returns those of the pods by their UIDs, and drops what was told of pods that are gone. A pod that somebody
// waits for is not gone: the cache has not seen it yet.
func (f *fences) addresses(pods []*corev1.Pod) map[types.UID]netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	current, told := map[types.UID]netip.Addr{}, map[types.UID]netip.Addr{}
	for _, pod := range pods {
		if hasEnded(pod) {
			continue
		}
		current[pod.UID] = reportedAddress(pod)
		if address, known := f.told[pod.UID]; known {
			current[pod.UID], told[pod.UID] = address, address
		}
	}
	for w := range f.waiting {
		told[w.pod] = f.told[w.pod]
	}
	f.told = told
	return current
}

// enforce notes what the kernel's rules are made for now, and ends the waiting for it.
func (f *fences) enforce(addresses map[types.UID]netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enforced = addresses
	for w := range f.waiting {
		if addresses[w.pod] == w.address {
			close(w.enforced)
			delete(f.waiting, w)
		}
	}
}
