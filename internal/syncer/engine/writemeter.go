package engine

import (
	"cmp"
	"io"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// What a tenant keeps on the host is bounded by hostusage. How much it makes the agent write there is bounded here: a tenant
// that changes one object in a loop keeps no more for it, and would still wear out the datastore that all tenants share. Nothing
// is refused: a tenant that has written more than its share rests until it has not, and what it changes meanwhile is written once.

// WriteShare is how much one tenant may write to the host. The zero value of each field has a good default.
type WriteShare struct {
	// PerSecond is how many writes in the long run, and Burst how many at once. 0 means 200 and 2,000.
	PerSecond, Burst float64
	// BytesPerSecond and BurstBytes count whole objects, since whole objects are stored. 0 means 2 MiB and 32 MiB.
	BytesPerSecond, BurstBytes float64
}

func (w WriteShare) complete() WriteShare {
	return WriteShare{
		PerSecond: cmp.Or(w.PerSecond, 200), Burst: cmp.Or(w.Burst, 2000),
		BytesPerSecond: cmp.Or(w.BytesPerSecond, 2<<20), BurstBytes: cmp.Or(w.BurstBytes, 32<<20),
	}
}

// writeMeter is what one tenant has left of its share.
type writeMeter struct {
	share WriteShare
	// pace is how much the host allows now of what it allows at best: between 0 and 1.
	pace func() float64
	now  func() time.Time
	// rest keeps the tenant from being served for a while.
	rest func(time.Duration)

	mu sync.Mutex
	// The following are protected by mu. Both may be below zero: what is under way when the share is used up is not stopped.
	writes, bytes float64
	filledAt      time.Time
}

func newWriteMeter(share WriteShare, pace func() float64, now func() time.Time, rest func(time.Duration)) *writeMeter {
	return &writeMeter{share: share, pace: pace, now: now, rest: rest, writes: share.Burst, bytes: share.BurstBytes, filledAt: now()}
}

// charge counts something that was written.
func (m *writeMeter) charge(writes, bytes float64) {
	if pause := m.take(writes, bytes); pause > 0 {
		m.rest(pause)
	}
}

// take returns how long the tenant must rest.
func (m *writeMeter) take(writes, bytes float64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, pace := m.now(), m.pace()
	passed := max(now.Sub(m.filledAt).Seconds(), 0) * pace
	m.filledAt = now
	m.writes = min(m.writes+passed*m.share.PerSecond, m.share.Burst) - writes
	m.bytes = min(m.bytes+passed*m.share.BytesPerSecond, m.share.BurstBytes) - bytes
	missing := max(-m.writes/m.share.PerSecond, -m.bytes/m.share.BytesPerSecond)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / pace * float64(time.Second))
}

// watch charges a write that is made for a tenant.
func (m *writeMeter) watch(request *http.Request, response *http.Response) {
	sent := float64(max(request.ContentLength, 0))
	m.charge(1, sent)
	// The answer is the object as it was stored, which a small patch may be a small part of.
	response.Body = &writtenBody{ReadCloser: response.Body, charge: func(read int64) {
		if more := float64(read) - sent; more > 0 {
			m.charge(0, more)
		}
	}}
}

// writtenBody is the answer to a write.
type writtenBody struct {
	io.ReadCloser
	read   int64
	charge func(read int64)
	once   sync.Once
}

// Read implements io.Reader.
func (w *writtenBody) Read(into []byte) (int, error) {
	n, err := w.ReadCloser.Read(into)
	w.read += int64(n)
	return n, err
}

// Close implements io.Closer.
func (w *writtenBody) Close() error {
	w.once.Do(func() { w.charge(w.read) })
	return w.ReadCloser.Close()
}

// rest stops handing out a tenant's work for a while, or for longer than it was stopped already.
func (q *queue) rest(uid types.UID, pause time.Duration) (isNew bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tenants[uid]
	if !ok {
		return false
	}
	isNew = t.restTimer == nil
	if !isNew {
		t.restTimer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if t.restTimer == timer {
			t.restTimer = nil
			q.consider(t)
		}
	})
	t.restTimer = timer
	return isNew
}

// restingTenants is the number of tenants that rest.
func (q *queue) restingTenants() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	total := 0
	for _, t := range q.tenants {
		if t.restTimer != nil {
			total++
		}
	}
	return total
}
