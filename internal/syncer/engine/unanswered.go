package engine

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A tenant's API server can be quick in most things and not answer one of them: a webhook of the tenant's may sleep on
// pods/status. Keys that were not answered in time are kept apart from the tenant's others, by kind. A few of them are tried
// in short turns, whatever the others do; the first that is answered lets all of its kind go on at once.

const (
	// probeEvery is the time between two tries of keys of one kind that were not answered.
	probeEvery = time.Second
	// probesPerKind is how many of them may be tried at once.
	probesPerKind = 2
)

// unanswered are the keys of one kind of one tenant that were not answered in time. It is protected by queue.mu.
type unanswered struct {
	waiting []work
	probing int
	next    time.Time   // when one of them may be tried
	timer   *time.Timer // considers the tenant then; nil when none is needed
}

// setUnanswered says that a key was not answered in time. It comes again by done, as a probe.
func (q *queue) setUnanswered(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[it.tenant]
	if !ok || t.isUnanswered[it.work] {
		return
	}
	t.isUnanswered[it.work] = true
	if _, ok := t.unanswered[it.kind]; !ok {
		t.unanswered[it.kind] = &unanswered{next: time.Now().Add(probeEvery)}
	}
}

// setAnswered says that a key is done with. isAnswered says that the tenant's API server was asked and answered; if the key
// was a probe, the others of its kind need not wait any longer.
func (q *queue) setAnswered(it item, isAnswered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[it.tenant]
	if !ok {
		return
	}
	delete(t.isUnanswered, it.work)
	if it.isProbe && isAnswered {
		q.release(t, it.kind)
	}
}

// recovered lets all keys of a tenant go on that wait for its API server.
func (q *queue) recovered(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok {
		return
	}
	for kind := range t.unanswered {
		q.release(t, kind)
	}
}

// release makes the unanswered keys of a kind ordinary again.
func (q *queue) release(t *tenantQueue, kind int) {
	u, ok := t.unanswered[kind]
	if !ok {
		return
	}
	for _, w := range u.waiting {
		delete(t.isUnanswered, w)
		q.enter(t, w)
	}
	t.waitingUnanswered -= len(u.waiting)
	u.waiting = nil
	q.consider(t)
}

// addUnanswered puts a key to the others of its kind that wait to be tried.
func (q *queue) addUnanswered(t *tenantQueue, w work) {
	u := t.unanswered[w.kind]
	u.waiting = append(u.waiting, w)
	t.waitingUnanswered++
	q.awaitProbe(t, u)
}

// awaitProbe sees to it that the tenant is considered when one of its unanswered keys may be tried.
func (q *queue) awaitProbe(t *tenantQueue, u *unanswered) {
	if len(u.waiting) == 0 {
		return
	}
	wait := time.Until(u.next)
	if wait <= 0 {
		q.consider(t)
		return
	}
	if u.timer != nil {
		return
	}
	u.timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		u.timer = nil
		q.consider(t)
	})
}

// probe returns the kind of which an unanswered key may be tried now; ok is false if there is none.
func (t *tenantQueue) probe() (found *unanswered, ok bool) {
	if t.waitingUnanswered == 0 || t.probing >= max(t.limit/2, 1) {
		return nil, false
	}
	now := time.Now()
	for _, u := range t.unanswered {
		if len(u.waiting) == 0 || u.probing >= probesPerKind || u.next.After(now) {
			continue
		}
		if found == nil || u.next.Before(found.next) {
			found = u
		}
	}
	return found, found != nil
}

// takeProbe takes the key of a kind that has waited longest.
func (q *queue) takeProbe(t *tenantQueue, u *unanswered) work {
	w := u.waiting[0]
	u.waiting = u.waiting[1:]
	u.probing++
	u.next = time.Now().Add(probeEvery)
	t.probing++
	t.waitingUnanswered--
	q.awaitProbe(t, u)
	return w
}

// endProbe gives the place of a probe back.
func (q *queue) endProbe(t *tenantQueue, kind int) {
	u := t.unanswered[kind]
	u.probing--
	t.probing--
	q.awaitProbe(t, u)
}

// unansweredKeys is the number of keys, of all tenants, that wait because they were not answered.
func (q *queue) unansweredKeys() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	total := 0
	for _, t := range q.tenants {
		total += t.waitingUnanswered
	}
	return total
}
