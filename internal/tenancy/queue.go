package tenancy

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// BackOff retries what has failed soon, and never later than somebody who has just repaired the reason would expect.
func BackOff() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 10*time.Second)
}

// Gained queues what this replica gains of its controller's objects; find returns those whose UID is among what was gained.
func Gained(shares shards.Shares, find func(ctx context.Context, isGained func(types.UID) bool) []reconcile.Request) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		shares.Follow(func(isGained func(types.UID) bool) {
			for _, request := range find(ctx, isGained) {
				queue.Add(request)
			}
		})
		return nil
	})
}
