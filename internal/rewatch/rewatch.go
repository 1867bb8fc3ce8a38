// Package rewatch makes informers that are up to date soon after an API server can be reached again.
//
// An informer of client-go waits the longer, the more often its watch could not be started, for up to a minute, and forgets how often only
// after two minutes without a failure: where a third of the requests fails, each cache would soon be a minute behind, and after an outage
// all of them. Here, a list or watch that failed because the API server could not be reached, or has no time, is tried again within
// seconds, and the informer does not learn of it; and a watch that is broken off at once is kept open for a second. Invariants: what an
// API server refuses, or says is too old, goes to the informer, which knows what to do; a try ends with the informer.
package rewatch

import (
	"context"
	"errors"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

const (
	// firstWait and lastWait are the least and the longest time between two tries. A random half is added to each, so that not all caches
	// ask at once.
	firstWait, lastWait = 200 * time.Millisecond, 6 * time.Second
	// maxBroken is how often a call is tried that an API server has answered with an internal error, which may be one for ever.
	maxBroken = 5
)

// NewInformer is for cache.Options.NewInformer of controller-runtime.
func NewInformer(from cache.ListerWatcher, empty runtime.Object, resync time.Duration, indexers cache.Indexers) cache.SharedIndexInformer {
	calls := cache.ToListerWatcherWithContext(Persistent(from))
	last := &cache.ListWatch{
		ListWithContextFunc: calls.ListWithContext,
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			ending := NewEnding(options)
			inner, err := calls.WatchWithContext(ctx, options)
			if err != nil {
				return nil, err
			}
			return newLasting(ctx, inner, ending), nil
		},
	}
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(last, from), empty, resync, indexers)
}

// Persistent lists and watches what from does, and tries again what may go well the next time. Who gives its watches to an informer
// lets them end as Ending says.
func Persistent(from cache.ListerWatcher) cache.ListerWatcher {
	calls := cache.ToListerWatcherWithContext(from)
	persistent := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return try(ctx, func() (runtime.Object, error) { return calls.ListWithContext(ctx, options) })
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return try(ctx, func() (watch.Interface, error) { return calls.WatchWithContext(ctx, options) })
		},
	}
	// The client of a test may have no watch that begins with a list; it says so.
	return cache.ToListWatcherWithWatchListSemantics(persistent, from)
}

func try[T any](ctx context.Context, call func() (T, error)) (T, error) {
	// Beyond the steps it stays at the cap.
	waits := wait.Backoff{Duration: firstWait, Factor: 2, Jitter: 0.5, Steps: 16, Cap: lastWait}
	broken := 0
	for {
		result, err := call()
		if apierrors.IsInternalError(err) {
			broken++
		}
		if err == nil || broken >= maxBroken || !mayPass(err) {
			return result, err
		}
		select {
		case <-time.After(waits.Step()):
		case <-ctx.Done():
			return result, err
		}
	}
}

// mayPass tells whether an error says nothing about the call.
func mayPass(err error) bool {
	if apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return false // That the informer asks in another way then is the remedy.
	}
	var unreached net.Error
	return errors.As(err, &unreached) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsInternalError(err)
}
