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
	breakerFirst     = time.Second
	breakerLast      = 30 * time.Second
	// slowCall is when a call counts as slow, as one does that a tenant's webhook holds up.
	slowCall = time.Second
	// maxResponse bounds what one call to a tenant's API server may answer.
	maxResponse = 16 << 20
)

// breaker watches the calls to one tenant's API server, so that a dead or slow one holds at most a few workers. When
// several calls fail in a row it blocks the tenant's queue, each time longer, until one succeeds; slow calls reduce the
// tenant's workers, and quick ones give them back one by one.
type breaker struct {
	next http.RoundTripper
	// block stops the tenant's work for a while; false means that it was stopped already.
	block func(time.Duration) bool
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
		if !errors.Is(request.Context().Err(), context.Canceled) {
			b.failed()
			b.noticed(began, time.Since(began))
		}
		return response, err
	}
	// 500 is what a tenant's broken webhook makes of a call: it answers quickly and is not the server's failure.
	if response.StatusCode == http.StatusServiceUnavailable || response.StatusCode == http.StatusGatewayTimeout {
		b.failed()
	} else {
		b.succeeded()
	}
	response.Body = &watchedBody{
		Reader: io.LimitReader(response.Body, maxResponse), body: response.Body,
		closed: func() { b.noticed(began, time.Since(began)) },
	}
	return response, nil
}

// watchedBody is an answer that is bounded, and timed until it has been read.
type watchedBody struct {
	io.Reader
	body   io.Closer
	closed func()
	once   sync.Once
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
	defer b.mu.Unlock()
	b.failures, b.pause = 0, 0
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
