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
	// maxResponse bounds what one call to a tenant's API server may answer.
	maxResponse = 16 << 20
)

// breaker watches the calls to one tenant's API server. When several fail in a row it blocks the tenant's queue, each time
// longer, until a call succeeds; so a dead or slow API server holds at most a few workers.
type breaker struct {
	next  http.RoundTripper
	block func(time.Duration)
	clear func()

	mu sync.Mutex
	// The following are protected by mu.
	failures int
	pause    time.Duration
}

// RoundTrip implements http.RoundTripper.
func (b *breaker) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err != nil {
		if !errors.Is(request.Context().Err(), context.Canceled) {
			b.failed()
		}
		return response, err
	}
	// 500 is what a tenant's broken webhook makes of a call: it answers quickly and is not the server's failure.
	if response.StatusCode == http.StatusServiceUnavailable || response.StatusCode == http.StatusGatewayTimeout {
		b.failed()
	} else {
		b.succeeded()
	}
	response.Body = boundedBody{Reader: io.LimitReader(response.Body, maxResponse), Closer: response.Body}
	return response, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}

func (b *breaker) failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.failures < breakerThreshold {
		return
	}
	b.pause = min(max(2*b.pause, breakerFirst), breakerLast)
	b.block(b.pause)
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 {
		return
	}
	if b.failures >= breakerThreshold {
		b.clear()
	}
	b.failures, b.pause = 0, 0
}
