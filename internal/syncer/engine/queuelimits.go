package engine

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// How many keys of a tenant are worked on at once, by how its API server answers.

// block stops handing out a tenant's work for a while; then one worker tries. It returns false if it was blocked already.
func (q *queue) block(uid types.UID, until time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok || t.blocked {
		return false
	}
	t.blocked = true
	q.setLimit(t, 1)
	time.AfterFunc(until, func() { q.unblock(t) })
	return true
}

func (q *queue) unblock(t *tenantQueue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.blocked = false
	q.consider(t)
}

// slower halves a tenant's workers for a slow call that began then, down to least. Calls that began before the last time tell
// nothing new.
func (q *queue) slower(uid types.UID, began time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok || began.Before(t.reduced) || t.limit <= q.least() {
		return
	}
	q.setLimit(t, max(t.limit/2, q.least()))
	t.reduced = time.Now()
}

func (q *queue) setLimit(t *tenantQueue, limit int) { t.limit, t.isSlow = limit, limit < q.perTenant }

// least is how many workers a slow tenant keeps: what it does quickly must go on beside what is slow.
func (q *queue) least() int { return max(q.perTenant/4, 1) }

// faster gives a tenant one more worker and tells whether it has all of them.
func (q *queue) faster(uid types.UID) (hasAll bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok {
		return true
	}
	q.setLimit(t, min(t.limit+1, q.perTenant))
	q.consider(t)
	return t.limit == q.perTenant
}
