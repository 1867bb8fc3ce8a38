package engine

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// attempt is one Reconcile of a key, as its calls show it. It goes with the context to where the calls are made, so that
// kinds need not tell what they write.
type attempt struct {
	kind    string
	metrics *metrics
	why     cause

	mu      sync.Mutex
	written [2]time.Time // protected by mu: when the last write to a side was answered; by Side
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
	response, err := o.next.RoundTrip(request)
	if err != nil || request.Method == http.MethodGet {
		return response, err
	}
	if a, ok := attemptOf(request.Context()); ok {
		a.answered(o.side, request, response.StatusCode)
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

// NoteChanged counts a write to the copy of the key that is worked on as a repair, if the copy was changed on the host and
// nothing in the tenant was. UpdateHost calls it; who writes in another way what somebody can change on the host calls it too.
func NoteChanged(ctx context.Context, before, after client.Object) {
	a, ok := attemptOf(ctx)
	if !ok || !a.why.isEdited || !a.why.virtual.IsZero() {
		return
	}
	// A copy that is taken over, from a reservation or a predecessor, was nobody's to repair.
	if before.GetAnnotations()[mapping.AnnotationTenantUID] != after.GetAnnotations()[mapping.AnnotationTenantUID] {
		return
	}
	a.metrics.repairs.WithLabelValues(a.kind, repairChanged).Inc()
}
