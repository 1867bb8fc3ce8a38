package event

import (
	"sync"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// A tenant gets this many events a second, and so many at once. More wait: the host keeps them for an hour.
const (
	eventsPerSecond = 20
	eventBurst      = 200
)

// turns limits how many events each tenant gets.
type turns struct {
	mu sync.Mutex
	// limiters is protected by mu. It has an entry for each tenant that is served.
	limiters map[types.UID]*rate.Limiter
}

func newTurns() *turns { return &turns{limiters: map[types.UID]*rate.Limiter{}} }

// take tells whether the tenant may have another event now.
func (t *turns) take(tenant types.UID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	limiter, ok := t.limiters[tenant]
	if !ok {
		limiter = rate.NewLimiter(eventsPerSecond, eventBurst)
		t.limiters[tenant] = limiter
	}
	return limiter.Allow()
}

// forget drops a tenant that is no longer served.
func (t *turns) forget(tenant types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.limiters, tenant)
}
