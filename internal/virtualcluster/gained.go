package virtualcluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// What is another replica's is passed over, and its timers end. So everything is looked at again that this one gains.

type requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// gained queues the virtual clusters that this replica gains, or has again.
func (r *Reconciler) gained() source.Source {
	return source.Func(func(ctx context.Context, queue requestQueue) error {
		r.options.Shards.Follow(func(isGained func(types.UID) bool) {
			var list clusterv1alpha1.VirtualClusterList
			if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
				r.log.Error("Cannot list the virtual clusters that were gained", "error", err)
				return
			}
			for index := range list.Items {
				if vc := &list.Items[index]; isGained(vc.UID) {
					queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(vc)})
				}
			}
		})
		return nil
	})
}

// gained queues the namespaces of virtual clusters that this replica gains.
func (o *orphanCollector) gained() source.Source {
	return source.Func(func(ctx context.Context, queue requestQueue) error {
		o.shards.Follow(func(isGained func(types.UID) bool) {
			var list corev1.NamespaceList
			if err := o.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
				o.log.Error("Cannot list the namespaces that were gained", "error", err)
				return
			}
			for index := range list.Items {
				if namespace := &list.Items[index]; isGained(types.UID(namespace.Labels[mapping.LabelUID])) {
					queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(namespace)})
				}
			}
		})
		return nil
	})
}
