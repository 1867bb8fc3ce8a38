package engine

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// attempt is one Reconcile of a key, as its calls show it. It goes with the context to where the calls are made, so that
// kinds need not tell what they write.
type attempt struct {
	kind    string
	metrics *metrics
	why     cause
	// writes counts what is written to the host for the tenant; nil means that nobody does.
	writes *writeMeter
	// own tells what was written by us; nil means that nothing was.
	own *ownWrites
	// isPutBack says that somebody had changed the copy, and putBack which fields of it were written again.
	isPutBack bool
	putBack   []string

	// askingHost is how many calls to the host are under way.
	askingHost atomic.Int32
	// hasAnswer and lacksAnswer say what the calls to the tenant's API server came to.
	hasAnswer, lacksAnswer atomic.Bool

	mu sync.Mutex
	// The following are protected by mu.
	written [2]time.Time // when the last write to a side was answered; by Side
	timer   *time.Timer
	ended   bool
}

// keptWaiting has park called when the attempt takes longer than patience, unless it is the host that it waits for then. The
// returned function ends the watching.
func (a *attempt) keptWaiting(patience time.Duration, park func()) (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(patience, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case a.ended: // at this very moment
		case a.askingHost.Load() > 0:
			a.timer.Reset(patience)
		default:
			park()
		}
	})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.ended = true
		a.timer.Stop()
	}
}

type attemptKey struct{}

func (a *attempt) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

func attemptOf(ctx context.Context) (*attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	return a, ok
}

// answered notes the answer to a call that writes.
func (a *attempt) answered(side Side, request *http.Request, code int) {
	switch {
	case code == http.StatusConflict && request.Method != http.MethodPost: // a POST only says that the name is taken
		a.metrics.conflicts.WithLabelValues(a.kind, side.String()).Inc()
	case code < http.StatusMultipleChoices && !strings.HasSuffix(request.URL.Path, "/token"): // minting a token changes no object
		a.mu.Lock()
		defer a.mu.Unlock()
		a.written[side] = time.Now()
	}
}

// measure tells the lag of what was brought to the other side, and returns what is still to be brought there.
func (a *attempt) measure() cause {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.why
	if written := a.written[Host]; !written.IsZero() && !left.virtual.IsZero() {
		a.metrics.lag.WithLabelValues(a.kind, directionDown).Observe(written.Sub(left.virtual).Seconds())
		left.virtual = time.Time{}
	}
	if written := a.written[Virtual]; !written.IsZero() && !left.host.IsZero() {
		a.metrics.lag.WithLabelValues(a.kind, directionUp).Observe(written.Sub(left.host).Seconds())
		left.host = time.Time{}
	}
	return left
}

// observer is a connection to one side that tells attempts about their calls.
type observer struct {
	next http.RoundTripper
	side Side
}

// observed wraps the connection of a side.
func observed(side Side) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return &observer{next: next, side: side} }
}

// RoundTrip implements http.RoundTripper.
func (o *observer) RoundTrip(request *http.Request) (*http.Response, error) {
	a, ok := attemptOf(request.Context())
	if !ok {
		return o.next.RoundTrip(request)
	}
	if o.side == Host {
		a.askingHost.Add(1)
		defer a.askingHost.Add(-1)
	}
	response, err := o.next.RoundTrip(request)
	if err != nil || request.Method == http.MethodGet {
		return response, err
	}
	a.answered(o.side, request, response.StatusCode)
	if o.side == Host && a.writes != nil {
		a.writes.watch(request, response)
	}
	return response, nil
}

// noteMade counts a copy that is made again because somebody had deleted it: there was one of this very object. That it is gone
// may be seen in the cache before its deletion is told.
func noteMade(ctx context.Context, virtualObject client.Object) {
	if a, ok := attemptOf(ctx); ok && a.why.copyOf != "" && a.why.copyOf == virtualObject.GetUID() {
		a.metrics.repairs.WithLabelValues(a.kind, repairDeleted).Inc()
	}
}
