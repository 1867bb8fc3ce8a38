package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// breakerThreshold is the number of failures in a row after which a tenant's API server is left alone.
	breakerThreshold = 3
	// breakerFirst and breakerLast are the first and the longest pause. After each a single key asks whether the server is back,
	// which costs next to nothing: no tenant has to wait much longer than its server was away.
	breakerFirst = time.Second
	breakerLast  = 4 * time.Second
	// slowCall is when a call counts as slow, as one does that a tenant's webhook holds up.
	slowCall = time.Second
	// maxResponse bounds what one call to a tenant's API server may answer.
	maxResponse = 16 << 20
)

// breaker watches the calls to one tenant's API server. When several calls fail quickly in a row, since the server is not reached or
// not able, it blocks the tenant's queue, each time longer, until one succeeds. Slow calls reduce the tenant's workers, and
// quick ones give them back one by one. A call that gets no answer in time says little about others, which may be quick: its key
// alone is kept apart, see unanswered.
type breaker struct {
	next http.RoundTripper
	// block stops the tenant's work for a while; false means that it was stopped already.
	block func(time.Duration) bool
	// recovered is called when a call succeeds after the work was stopped.
	recovered func()
	// slower reduces the tenant's workers for a slow call that began then; faster gives one back, and tells whether the
	// tenant has all of them.
	slower func(began time.Time)
	faster func() (hasAll bool)

	mu sync.Mutex
	// The following are protected by mu.
	failures  int
	pause     time.Duration
	isLimited bool
}

// RoundTrip implements http.RoundTripper.
func (b *breaker) RoundTrip(request *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := b.next.RoundTrip(request)
	if err != nil {
		b.notReached(request, began)
		return response, err
	}
	// With it client-go would sleep and repeat the call, for as long as a tenant likes, and a worker wait for it.
	response.Header.Del("Retry-After")
	// 500 is what a tenant's broken webhook makes of a call. If it answers quickly it is not the server's failure; if not, the
	// server has waited for it in vain.
	isLate := time.Since(began) >= slowCall
	switch code := response.StatusCode; {
	case code == http.StatusServiceUnavailable && !isLate:
		noteAnswer(request.Context(), false)
		b.failed()
	case code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout, code == http.StatusTooManyRequests, code == http.StatusInternalServerError && isLate:
		noteAnswer(request.Context(), false)
	default:
		noteAnswer(request.Context(), true)
		b.succeeded()
	}
	response.Body = &watchedBody{
		Reader: io.LimitReader(response.Body, maxResponse), body: response.Body,
		failed: func() { noteAnswer(request.Context(), false) },
		closed: func() { b.noticed(began, time.Since(began)) },
	}
	return response, nil
}

// notReached is told of a call that ended without an answer.
func (b *breaker) notReached(request *http.Request, began time.Time) {
	if errors.Is(request.Context().Err(), context.Canceled) {
		return // by ourselves
	}
	noteAnswer(request.Context(), false)
	if time.Since(began) < slowCall && !errors.Is(request.Context().Err(), context.DeadlineExceeded) {
		b.failed()
	}
	b.noticed(began, time.Since(began))
}

// noteAnswer tells the attempt that a call to the tenant's API server is part of what came of it.
func noteAnswer(ctx context.Context, isAnswered bool) {
	a, ok := attemptOf(ctx)
	switch {
	case !ok:
	case isAnswered:
		a.hasAnswer.Store(true)
	default:
		a.lacksAnswer.Store(true)
	}
}

// watchedBody is an answer that is bounded, and timed until it has been read.
type watchedBody struct {
	io.Reader
	body   io.Closer
	failed func()
	closed func()
	once   sync.Once
}

// Read implements io.Reader.
func (w *watchedBody) Read(into []byte) (int, error) {
	n, err := w.Reader.Read(into)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failed()
	}
	return n, err
}

// Close implements io.Closer.
func (w *watchedBody) Close() error {
	w.once.Do(w.closed)
	return w.body.Close()
}

func (b *breaker) failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.failures < breakerThreshold {
		return
	}
	// Of the many calls that fail at the same moment only one makes the pause longer.
	pause := min(max(2*b.pause, breakerFirst), breakerLast)
	if b.block(pause) {
		b.pause = pause
	}
	b.isLimited = true
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	wasStopped := b.pause > 0
	b.failures, b.pause = 0, 0
	b.mu.Unlock()
	if wasStopped {
		b.recovered()
	}
}

// noticed is told how long a call took.
func (b *breaker) noticed(began time.Time, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if took >= slowCall {
		b.isLimited = true
		b.slower(began)
		return
	}
	if b.isLimited && b.failures == 0 {
		b.isLimited = !b.faster()
	}
}
