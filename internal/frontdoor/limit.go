package frontdoor

import (
	"net"
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Bounds of connections whose server name is not known yet: an honest client says it in the first packet. A source may be
// a load balancer that stands for many clients.
const (
	maxNameless         = 2048
	maxNamelessOfSource = 256
)

// limit counts connections: in all, per tenant, and those that have not said yet where they want to go.
type limit struct {
	maxTotal, maxPerTenant int

	mu sync.Mutex
	// The following are protected by mu.
	total    int
	byTenant map[types.UID]int
	nameless int
	bySource map[netip.Addr]int
	// held wait for a tenant to wake.
	held         int
	heldByTenant map[types.UID]int
}

func newLimit(maxTotal, maxPerTenant int) *limit {
	return &limit{
		maxTotal: maxTotal, maxPerTenant: maxPerTenant, byTenant: map[types.UID]int{}, bySource: map[netip.Addr]int{},
		heldByTenant: map[types.UID]int{},
	}
}

// enter counts a connection in, unless there are too many. named must be called when its server name is known or will
// never be, and leave after that.
func (l *limit) enter(remote net.Addr) (named func(), ok bool) {
	source := sourceOf(remote)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.maxTotal || l.nameless >= maxNameless || l.bySource[source] >= maxNamelessOfSource {
		return nil, false
	}
	l.total++
	l.nameless++
	l.bySource[source]++
	return func() { l.named(source) }, true
}

func (l *limit) named(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nameless--
	if l.bySource[source]--; l.bySource[source] == 0 {
		delete(l.bySource, source)
	}
}

// sourceOf is the zero address for connections that have none, as in tests.
func sourceOf(remote net.Addr) netip.Addr {
	address, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return address.AddrPort().Addr().Unmap()
}

func (l *limit) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
}

// enterTenant counts a connection in to a tenant, unless it has too many.
func (l *limit) enterTenant(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byTenant[uid] >= l.maxPerTenant {
		return false
	}
	l.byTenant[uid]++
	return true
}

func (l *limit) leaveTenant(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byTenant[uid]--; l.byTenant[uid] == 0 {
		delete(l.byTenant, uid)
	}
}

// enterHeld counts a connection in that waits for its tenant to wake, unless there are too many.
func (l *limit) enterHeld(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held >= defaultMaxHeld || l.heldByTenant[uid] >= defaultMaxHeldPerTenant {
		return false
	}
	l.held++
	l.heldByTenant[uid]++
	return true
}

func (l *limit) leaveHeld(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held--
	if l.heldByTenant[uid]--; l.heldByTenant[uid] == 0 {
		delete(l.heldByTenant, uid)
	}
}

// connected are the tenants that have connections which do not wait.
func (l *limit) connected() []types.UID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var uids []types.UID
	for uid, count := range l.byTenant {
		if count > l.heldByTenant[uid] {
			uids = append(uids, uid)
		}
	}
	return uids
}
