package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	// keyTimeout bounds the work on one key, which is several calls.
	keyTimeout = 30 * time.Second
	// retryFirst is the first delay after an error, refusedFirst after one that the tenant was told about.
	retryFirst   = 20 * time.Millisecond
	refusedFirst = time.Second
	retryLast    = 2 * time.Minute
	// parkAfter is how long a key may be worked on before its worker counts as its tenant's own, and another takes its place
	// among those that all tenants share.
	parkAfter = 200 * time.Millisecond
	// unreachedLast is the longest delay after a call that did not reach an API server, or that it had no time for: when it is
	// back, objects must not wait for as long as it was away.
	unreachedLast = 10 * time.Second
)

// worker does work until the queue is closed, or until it is parked and that piece of work is done. All tenants share the
// workers that are not parked; how many are is bounded by the tenants' own limits.
func (e *Engine) worker(ctx context.Context) {
	for {
		it, ok := e.queue.get()
		if !ok {
			return
		}
		isParked := atomic.Bool{}
		park := sync.OnceFunc(func() {
			isParked.Store(true)
			e.parked.Add(1)
			e.workers.Go(func() { e.worker(ctx) })
		})
		e.queue.done(it, e.process(ctx, it, park))
		if isParked.Load() {
			e.parked.Add(-1)
			return
		}
	}
}

// process does one piece of work and returns when it must come again; 0 means not by itself. park is called when it takes
// long.
func (e *Engine) process(ctx context.Context, it item, park func()) time.Duration {
	run, ok := e.tenantRun(it.tenant)
	if !ok {
		return 0
	}
	if run.serving().Err() != nil {
		return e.inNextTurn(it)
	}
	kind, scope, started := e.kinds[it.kind], run.scope(), time.Now()
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	defer context.AfterFunc(run.serving(), cancel)()
	ctx, release := holding(ctx) // what is read for the key may be kept until it is done
	defer release()
	tried := &attempt{kind: kind.Name, metrics: e.metrics, why: it.why, writes: run.writes, own: e.own}
	if it.isOfSlow {
		park()
	} else {
		defer tried.keptWaiting(parkAfter, park)()
	}
	result, err := reconcile(tried.in(ctx), kind, scope, it.key)
	it.why = tried.measure()
	e.metrics.waited.WithLabelValues(kind.Name).Observe(started.Sub(it.queuedAt).Seconds())
	e.metrics.worked.WithLabelValues(kind.Name).Observe(time.Since(started).Seconds())
	e.settlePutBack(ctx, scope, it, tried)
	if err != nil && run.serving().Err() != nil {
		return e.inNextTurn(it)
	}
	if err != nil && tried.lacksAnswer.Load() {
		return e.notAnswered(run, it, err)
	}
	e.queue.setAnswered(it, tried.hasAnswer.Load())
	if err == nil {
		e.queue.succeeded(it)
		return result.RequeueAfter
	}
	return e.fail(ctx, run, scope, it, err)
}

// inNextTurn keeps a key that could not be worked on, or not to the end, since the replica was cut off or the tenant is let go.
func (e *Engine) inNextTurn(it item) time.Duration {
	e.queue.keep(it, it.why)
	return afterTurn
}

// notAnswered keeps a key apart that the tenant's API server gave no answer to. It comes again as a probe.
func (e *Engine) notAnswered(run *tenantRun, it item, err error) time.Duration {
	kind := e.kinds[it.kind]
	e.metrics.failures.WithLabelValues(kind.Name, "unanswered").Inc()
	e.queue.keep(it, it.why)
	e.queue.setUnanswered(it)
	// Ever more rarely: a tenant must not fill the log.
	if failures := e.queue.failed(it); failures > 1 && failures&(failures-1) == 0 {
		e.log.Warn("Virtual cluster does not answer", "kind", kind.Name, "vcluster", run.name(), "key", it.key.String(), "failures", failures, "error", err)
	}
	return 0
}

// fail tells whoever must know about an error and returns when to try again.
func (e *Engine) fail(ctx context.Context, run *tenantRun, scope *Scope, it item, err error) time.Duration {
	kind := e.kinds[it.kind]
	if after, ok := throttled(err); ok { // no failure of the key: it takes its turn again, as soon as its tenant's other keys
		e.metrics.failures.WithLabelValues(kind.Name, "throttled").Inc()
		e.queue.keep(it, it.why)
		return after
	}
	if held := (*heldBackError)(nil); errors.As(err, &held) {
		e.metrics.failures.WithLabelValues(kind.Name, "contested").Inc()
		e.queue.keep(it, it.why)
		e.tell(ctx, scope, kind, it.key, &Refusal{Reason: ReasonEditedOnHost, Message: held.Error()})
		return held.after
	}
	failures := e.queue.failed(it)
	refusal, isTold := told(err)
	if isTold && refusal.Reason == ReasonHostRejected {
		refusal = e.explained(ctx, mapping.HostNamespace(run.tenant.Load().ID, it.key.Namespace), refusal)
	}
	if isTold || errors.Is(err, ErrPredecessor) {
		it.why = it.why.untimed()
	}
	e.queue.keep(it, it.why)
	if isRace(err) || errors.Is(err, ErrPredecessor) {
		e.metrics.failures.WithLabelValues(kind.Name, "race").Inc()
		return backOff(failures, retryFirst)
	}
	if isTold {
		e.metrics.failures.WithLabelValues(kind.Name, "refused").Inc()
		e.log.Debug("Object is not on the host", "kind", kind.Name, "vcluster", run.name(), "key", it.key.String(), "error", err)
		e.tell(ctx, scope, kind, it.key, refusal)
		return backOff(failures, refusedFirst)
	}
	if errors.Is(err, errPanic) {
		e.metrics.failures.WithLabelValues(kind.Name, "panic").Inc()
		e.log.Error("Kind panicked", "kind", kind.Name, "vcluster", run.name(), "key", it.key.String(), "failures", failures, "error", err)
		return backOff(failures, refusedFirst)
	}
	e.metrics.failures.WithLabelValues(kind.Name, "other").Inc()
	if failures > 1 { // the first is mostly somebody else's write, or something not there yet
		e.log.Warn("Sync failed", "kind", kind.Name, "vcluster", run.name(), "key", it.key.String(), "failures", failures, "error", err)
	}
	if isUnreached(err) {
		return min(backOff(failures, retryFirst), unreachedLast)
	}
	return backOff(failures, retryFirst)
}

// explained puts a refusal of the host into words that mean something to the tenant, if somebody has any.
func (e *Engine) explained(ctx context.Context, hostNamespace string, refusal *Refusal) *Refusal {
	if e.options.Explain == nil {
		return refusal
	}
	if message, ok := e.options.Explain(ctx, hostNamespace, refusal.Message); ok {
		return &Refusal{Reason: refusal.Reason, Message: message}
	}
	return refusal
}

// tell writes a Warning event on the tenant's object, if there is one.
func (e *Engine) tell(ctx context.Context, scope *Scope, kind Kind, key Key, refusal *Refusal) {
	if kind.ObjectOf != nil {
		if virtualObject := kind.ObjectOf(ctx, scope, key); virtualObject != nil {
			scope.Event(virtualObject, corev1.EventTypeWarning, refusal.Reason, refusal.Message)
		}
		return
	}
	if kind.Object == nil {
		return
	}
	virtualObject, ok := kind.Object.DeepCopyObject().(client.Object)
	if !ok {
		return
	}
	if err := scope.VirtualCache.Get(ctx, key.NamespacedName(), virtualObject); err != nil {
		return // gone: nobody to tell
	}
	scope.Event(virtualObject, corev1.EventTypeWarning, refusal.Reason, refusal.Message)
}

// backOff is the delay after so many failures in a row.
func backOff(failures int, first time.Duration) time.Duration {
	return min(first<<min(failures-1, 16), retryLast)
}
