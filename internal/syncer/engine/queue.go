package engine

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// work is one thing to look at, within one tenant. kind is an index into Engine.kinds.
type work struct {
	kind int
	key  Key
}

// item is work of one tenant, as a worker gets it.
type item struct {
	tenant types.UID
	work
	queuedAt time.Time
	why      cause
}

// queue holds the work of all tenants and hands it out in turn: one piece a tenant, then the next tenant's. Its size is
// bounded by the number of objects, since work that is already queued is not queued again.
type queue struct {
	perTenant int
	laneOf    func(kind int) Lane

	mu      sync.Mutex
	changed *sync.Cond
	// The following are protected by mu.
	tenants map[types.UID]*tenantQueue
	turn    []*tenantQueue // those that can be served now, first served first
	closed  bool
}

// tenantQueue is one tenant's work. It is protected by queue.mu.
type tenantQueue struct {
	uid        types.UID
	lanes      [3][]work
	queued     map[work]time.Time
	processing map[work]bool // the value says that the work must be done again
	delayed    map[work]*delay
	failures   map[work]int
	causes     map[work]cause // of what is queued, delayed, or must be done again

	held    bool // caches are not filled yet, or the tenant is not ready
	gone    bool
	inTurn  bool
	limit   int       // of workers; 1 while the breaker tries whether the API server answers again
	reduced time.Time // when limit was last reduced for a slow call
	blocked bool
}

type delay struct {
	due   time.Time
	timer *time.Timer
}

// laneOrder says which lane is served first.
var laneOrder = [3]Lane{LaneFirst, LaneNormal, LaneLast}

func newQueue(perTenant int, laneOf func(kind int) Lane) *queue {
	q := &queue{perTenant: perTenant, laneOf: laneOf, tenants: map[types.UID]*tenantQueue{}}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// open begins a tenant's queue. It is held until release.
func (q *queue) open(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tenants[uid] = &tenantQueue{
		uid: uid, held: true, limit: q.perTenant,
		queued: map[work]time.Time{}, processing: map[work]bool{}, delayed: map[work]*delay{}, failures: map[work]int{},
		causes: map[work]cause{},
	}
}

// hold stops handing out a tenant's work, or lets it go on.
func (q *queue) hold(uid types.UID, held bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t, ok := q.tenants[uid]; ok {
		t.held = held
		q.consider(t)
	}
}

// drop forgets a tenant's work and waits until none of it is being done.
func (q *queue) drop(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok {
		return
	}
	t.gone = true
	for _, d := range t.delayed {
		d.timer.Stop()
	}
	for len(t.processing) > 0 {
		q.changed.Wait()
	}
	delete(q.tenants, uid)
}

// close makes get return false for every worker.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}

// add queues work now. Unknown tenants are ignored: their work is found again when they are taken up.
func (q *queue) add(uid types.UID, w work) { q.addFor(uid, w, cause{}) }

// addFor queues work now and remembers what for.
func (q *queue) addFor(uid types.UID, w work, why cause) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.keepLocked(uid, w, why)
	q.addLocked(uid, w)
}

// keep remembers what work is for that comes again after a failure.
func (q *queue) keep(it item, why cause) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.keepLocked(it.tenant, it.work, why)
}

func (q *queue) keepLocked(uid types.UID, w work, why cause) {
	if t, ok := q.tenants[uid]; ok && !t.gone && why != (cause{}) {
		t.causes[w] = t.causes[w].and(why)
	}
}

func (q *queue) addLocked(uid types.UID, w work) {
	t, ok := q.tenants[uid]
	if !ok || t.gone {
		return
	}
	if d, ok := t.delayed[w]; ok {
		d.timer.Stop()
		delete(t.delayed, w)
	}
	if _, ok := t.processing[w]; ok {
		t.processing[w] = true
		return
	}
	if _, ok := t.queued[w]; ok {
		return
	}
	t.queued[w] = time.Now()
	lane := q.laneOf(w.kind)
	t.lanes[lane] = append(t.lanes[lane], w)
	q.consider(t)
}

// addAfter queues work after a delay, or sooner if it is already waiting for an earlier time.
func (q *queue) addAfter(uid types.UID, w work, after time.Duration) {
	if after <= 0 {
		q.add(uid, w)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addAfterLocked(uid, w, after)
}

func (q *queue) addAfterLocked(uid types.UID, w work, after time.Duration) {
	t, ok := q.tenants[uid]
	if !ok || t.gone {
		return
	}
	if _, ok := t.queued[w]; ok {
		return
	}
	due := time.Now().Add(after)
	if d, ok := t.delayed[w]; ok {
		if d.due.Before(due) {
			return
		}
		d.timer.Stop()
	}
	t.delayed[w] = &delay{due: due, timer: time.AfterFunc(after, func() { q.add(uid, w) })}
}

// consider puts a tenant in turn if it can be served.
func (q *queue) consider(t *tenantQueue) {
	if t.inTurn || !t.servable() {
		return
	}
	t.inTurn = true
	q.turn = append(q.turn, t)
	q.changed.Broadcast()
}

func (t *tenantQueue) servable() bool {
	return !t.held && !t.gone && !t.blocked && len(t.queued) > 0 && len(t.processing) < t.limit
}

// get waits for work; ok is false when the queue is closed. Every item must be given back to done.
func (q *queue) get() (next item, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return item{}, false
		}
		if next, ok = q.take(); ok {
			return next, true
		}
		q.changed.Wait()
	}
}

func (q *queue) take() (next item, ok bool) {
	for len(q.turn) > 0 {
		t := q.turn[0]
		q.turn = q.turn[1:]
		t.inTurn = false
		if !t.servable() {
			continue
		}
		w := t.pop()
		next = item{tenant: t.uid, work: w, queuedAt: t.queued[w], why: t.causes[w]}
		delete(t.queued, w)
		delete(t.causes, w)
		t.processing[w] = false
		q.consider(t)
		return next, true
	}
	return item{}, false
}

func (t *tenantQueue) pop() work {
	for _, lane := range laneOrder {
		if len(t.lanes[lane]) == 0 {
			continue
		}
		w := t.lanes[lane][0]
		t.lanes[lane] = t.lanes[lane][1:]
		return w
	}
	panic("the lanes are empty but work is queued") // broken invariant of add and take
}

// done gives work back. after > 0 makes it come again then.
func (q *queue) done(it item, after time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[it.tenant]
	if !ok {
		return
	}
	again := t.processing[it.work]
	delete(t.processing, it.work)
	switch {
	case again:
		q.addLocked(it.tenant, it.work)
	case after > 0:
		q.addAfterLocked(it.tenant, it.work, after)
	}
	q.consider(t)
	q.changed.Broadcast() // for drop
}

// failed counts a failure of work and returns how many there were in a row, this one included.
func (q *queue) failed(it item) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[it.tenant]
	if !ok {
		return 1
	}
	t.failures[it.work]++
	return t.failures[it.work]
}

// succeeded forgets earlier failures of work.
func (q *queue) succeeded(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t, ok := q.tenants[it.tenant]; ok {
		delete(t.failures, it.work)
	}
}

// block stops handing out a tenant's work for a while; then one worker tries. It returns false if it was blocked already.
func (q *queue) block(uid types.UID, until time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok || t.blocked {
		return false
	}
	t.blocked, t.limit = true, 1
	time.AfterFunc(until, func() { q.unblock(t) })
	return true
}

func (q *queue) unblock(t *tenantQueue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.blocked = false
	q.consider(t)
}

// slower halves a tenant's workers for a slow call that began then. Calls that began before the last time tell nothing
// new.
func (q *queue) slower(uid types.UID, began time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok || began.Before(t.reduced) {
		return
	}
	t.limit, t.reduced = max(t.limit/2, 1), time.Now()
}

// faster gives a tenant one more worker and tells whether it has all of them.
func (q *queue) faster(uid types.UID) (hasAll bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok {
		return true
	}
	t.limit = min(t.limit+1, q.perTenant)
	q.consider(t)
	return t.limit == q.perTenant
}

// depth is the number of pieces of work that wait, of all tenants.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	total := 0
	for _, t := range q.tenants {
		total += len(t.queued)
	}
	return total
}

// blockedTenants is the number of tenants that the breaker keeps from being served.
func (q *queue) blockedTenants() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	total := 0
	for _, t := range q.tenants {
		if t.blocked {
			total++
		}
	}
	return total
}

// idle tells whether nothing waits or is being done.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.tenants {
		if len(t.queued)+len(t.processing) > 0 {
			return false
		}
	}
	return true
}
