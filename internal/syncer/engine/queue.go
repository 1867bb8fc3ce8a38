package engine

import (
	"slices"
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
	// isProbe says that the key was not answered when it was last tried.
	isProbe bool
	// isOfSlow says that the tenant's API server takes its time, so that the key must not hold what all tenants share.
	isOfSlow bool
}

// queue holds the work of all tenants and hands it out in turn: as many pieces of a tenant as its weight, then the next tenant's. Its
// size is bounded by the number of objects, since work that is already queued is not queued again. A tenant has at most perTenant
// pieces under way, and half as many probes beside them.
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
	lanes      [4][]work
	queued     map[work]time.Time
	processing map[work]bool // the value says that the work must be done again
	delayed    map[work]*delay
	failures   map[work]int
	causes     map[work]cause // of what is queued, delayed, or must be done again

	held    bool // caches are not filled yet, or the tenant is not ready
	gone    bool
	inTurn  bool
	weight  int       // how many keys are taken in one turn
	served  int       // how many were taken in this turn
	busy    [3]int    // ordinary keys that are worked on, by lane of their kinds
	popped  int       // how many ordinary keys were taken
	isSlow  bool      // limit is below what it can be
	limit   int       // of workers; 1 while the breaker tries whether the API server answers again
	reduced time.Time // when limit was last reduced for a slow call
	blocked bool
	// restTimer ends a rest; nil means that the tenant does not rest. See writeMeter.
	restTimer *time.Timer

	// Keys that were not answered in time: see unanswered. They are queued, but in no lane.
	unanswered        map[int]*unanswered // by kind
	isUnanswered      map[work]bool
	waitingUnanswered int
	probing           int
}

type delay struct {
	due   time.Time
	timer *time.Timer
}

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
		uid: uid, held: true, limit: q.perTenant, weight: 1,
		queued: map[work]time.Time{}, processing: map[work]bool{}, delayed: map[work]*delay{}, failures: map[work]int{},
		causes: map[work]cause{}, unanswered: map[int]*unanswered{}, isUnanswered: map[work]bool{},
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

// pause holds a tenant's work and waits until none of it is being done.
func (q *queue) pause(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok {
		return
	}
	t.held = true
	for len(t.processing) > 0 {
		q.changed.Wait()
	}
}

// weigh says how many pieces of a tenant's work are handed out in one turn.
func (q *queue) weigh(uid types.UID, weight int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t, ok := q.tenants[uid]; ok {
		t.weight = weight
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
	if t.restTimer != nil {
		t.restTimer.Stop()
	}
	for _, u := range t.unanswered {
		if u.timer != nil {
			u.timer.Stop()
		}
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

// causeOf is why work must be done again that is being done.
func (q *queue) causeOf(it item) cause {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t, ok := q.tenants[it.tenant]; ok {
		return t.causes[it.work]
	}
	return cause{}
}

func (q *queue) keepLocked(uid types.UID, w work, why cause) {
	if t, ok := q.tenants[uid]; ok && !t.gone && why != (cause{}) {
		q.addCause(t, w, why)
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
	if t.isUnanswered[w] {
		q.addUnanswered(t, w)
		return
	}
	q.enter(t, w)
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
	if t.held || t.gone || t.blocked || t.restTimer != nil {
		return false
	}
	if _, ok := t.probe(); ok {
		return true
	}
	return t.hasOrdinary()
}

// hasOrdinary tells whether a key can be served that is not a probe.
func (t *tenantQueue) hasOrdinary() bool {
	return len(t.processing)-t.probing < t.limit && slices.ContainsFunc(laneOrders[0][:], t.isOpen)
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
		if !t.servable() {
			q.endTurn(t)
			continue
		}
		w, isProbe := q.pick(t)
		next = item{
			tenant: t.uid, work: w, queuedAt: t.queued[w], why: t.causes[w],
			isProbe: isProbe, isOfSlow: isProbe || t.isSlow,
		}
		delete(t.queued, w)
		delete(t.causes, w)
		t.processing[w] = false
		if !isProbe {
			t.busy[q.laneOf(w.kind)]++
		}
		if t.served++; t.served >= t.weight {
			q.endTurn(t)
			q.consider(t)
		}
		return next, true
	}
	return item{}, false
}

// endTurn takes the first tenant out of turn.
func (q *queue) endTurn(t *tenantQueue) {
	q.turn = q.turn[1:]
	t.inTurn, t.served = false, 0
}

// pick takes the next key of a tenant that can be served. Probes go first: they are few and come by time.
func (q *queue) pick(t *tenantQueue) (w work, isProbe bool) {
	if u, ok := t.probe(); ok {
		return q.takeProbe(t, u), true
	}
	return t.pop(), false
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
	if it.isProbe {
		q.endProbe(t, it.kind)
	} else {
		t.busy[q.laneOf(it.kind)]--
	}
	switch {
	case again || t.isUnanswered[it.work]:
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
