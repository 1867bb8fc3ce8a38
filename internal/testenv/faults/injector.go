package faults

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// Plan says what happens to requests. The zero value lets them through.
type Plan struct {
	// Delay is how long every request waits before it is sent.
	Delay time.Duration
	// Share of the requests fails, between 0 and 1, in equal parts in the ways that Failures lists.
	Share float64
	// WatchLife is the longest time that a watch lives; it then ends in the middle. 0 means no bound.
	WatchLife time.Duration
}

// Failure is a way in which a request fails.
type Failure int

// The failures. A watch fails before it is sent only: its answer has no end that could be lost.
const (
	// NotSent: the connection is reset before the server has the request.
	NotSent Failure = iota
	// AnswerLost: the server does what it was asked, and the connection is reset before it has said so.
	AnswerLost
	// InternalError, Unavailable and TooMany are the server's answers 500, 503 and 429; the last two say to try again in a
	// second.
	InternalError
	Unavailable
	TooMany
	failures
)

// Injector makes requests fail by a plan, which can be changed at any time. It is safe for concurrent use.
type Injector struct {
	mu sync.Mutex
	// The following are protected by mu.
	plan   Plan
	random *rand.Rand
	counts map[Failure]int
	turn   int // of the next failure: in turn, so that also of a few each happens
}

// NewInjector makes an injector without a plan. The same seed makes the same choices in the same order of requests.
func NewInjector(seed uint64) *Injector {
	return &Injector{random: rand.New(rand.NewPCG(seed, 1)), counts: map[Failure]int{}} //nolint:gosec // chance, not secrets
}

// Set replaces the plan for the requests that come.
func (i *Injector) Set(plan Plan) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.plan = plan
}

// Count is how many requests have failed in this way.
func (i *Injector) Count(failure Failure) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts[failure]
}

// Config is config with all its requests under the plan.
func (i *Injector) Config(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &transport{injector: i, next: next} })
	return config
}

// fate is what is decided for one request.
type fate struct {
	delay     time.Duration
	fails     bool
	failure   Failure
	watchLife time.Duration
}

func (i *Injector) decide(isWatch bool) fate {
	i.mu.Lock()
	defer i.mu.Unlock()
	decided := fate{delay: i.plan.Delay}
	if isWatch && i.plan.WatchLife > 0 {
		decided.watchLife = time.Duration(i.random.Int64N(int64(i.plan.WatchLife))) + 1
	}
	if i.random.Float64() >= i.plan.Share {
		return decided
	}
	decided.fails = true
	if !isWatch {
		decided.failure = Failure(i.turn % int(failures))
		i.turn++
	}
	i.counts[decided.failure]++
	return decided
}

type transport struct {
	injector *Injector
	next     http.RoundTripper
}

// WrappedRoundTripper lets the libraries of Kubernetes find what is behind.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	isWatch := request.URL.Query().Has("watch")
	decided := t.injector.decide(isWatch)
	if err := wait(request, decided.delay); err != nil {
		return nil, err
	}
	if decided.fails {
		return t.fail(request, decided.failure)
	}
	response, err := t.next.RoundTrip(request)
	if err == nil && decided.watchLife > 0 {
		response.Body = newMortal(response.Body, decided.watchLife)
	}
	return response, err
}

func wait(request *http.Request, delay time.Duration) error {
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-request.Context().Done():
		closeBody(request)
		return request.Context().Err()
	case <-timer.C:
		return nil
	}
}

func (t *transport) fail(request *http.Request, failure Failure) (*http.Response, error) {
	if failure == AnswerLost {
		response, err := t.next.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, response.Body) // the server is done when its answer ends
		_ = response.Body.Close()
		return nil, reset()
	}
	closeBody(request)
	switch failure {
	case InternalError:
		return answer(request, http.StatusInternalServerError, "InternalError", ""), nil
	case Unavailable:
		return answer(request, http.StatusServiceUnavailable, "ServiceUnavailable", "1"), nil
	case TooMany:
		return answer(request, http.StatusTooManyRequests, "TooManyRequests", "1"), nil
	}
	return nil, reset()
}

func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}

func reset() error { return &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET} }

// answer is an error as an API server writes it.
func answer(request *http.Request, code int, reason, retryAfter string) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"a fault of the test","reason":%q,"code":%d}`, reason, code)
	header := http.Header{"Content-Type": {"application/json"}}
	if retryAfter != "" {
		header.Set("Retry-After", retryAfter)
	}
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code, Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, Request: request,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}
