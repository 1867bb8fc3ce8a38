package frontdoor

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// limit counts connections, in all and per tenant.
type limit struct {
	maxTotal, maxPerTenant int

	mu sync.Mutex
	// The following are protected by mu.
	total    int
	byTenant map[types.UID]int
}

func newLimit(maxTotal, maxPerTenant int) *limit {
	return &limit{maxTotal: maxTotal, maxPerTenant: maxPerTenant, byTenant: map[types.UID]int{}}
}

// enter counts a connection in, unless there are too many.
func (l *limit) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.maxTotal {
		return false
	}
	l.total++
	return true
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
