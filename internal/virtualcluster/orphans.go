package virtualcluster

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// orphanCollector deletes control and mapped namespaces whose VirtualCluster is gone: one that another replica made in
// the moment of the deletion, or one whose VirtualCluster was removed with its finalizer taken off by hand.
type orphanCollector struct {
	host   client.Client
	cached client.Reader
	shards shards.Shares
	log    *slog.Logger
}

// Reconcile looks at one namespace.
func (o *orphanCollector) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var namespace corev1.Namespace
	if err := o.cached.Get(ctx, request.NamespacedName, &namespace); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !isOurNamespace(&namespace) {
		return reconcile.Result{}, nil
	}
	ctx, leave, ok := o.shards.Enter(ctx, types.UID(namespace.Labels[mapping.LabelUID]))
	if !ok {
		return reconcile.Result{}, nil // another replica's; it comes again when this one gains it
	}
	defer leave()
	isOrphan, err := o.isOrphan(ctx, &namespace)
	if err != nil || !isOrphan {
		return reconcile.Result{}, err
	}
	if err := o.delete(ctx, &namespace); err != nil {
		return reconcile.Result{}, err
	}
	// Nobody else takes the finalizers off its pods, and its end would wait for them for ever.
	if _, err := releasePods(ctx, o.host, namespace.Name); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: deletionPoll}, nil
}

func (o *orphanCollector) delete(ctx context.Context, namespace *corev1.Namespace) error {
	if !namespace.DeletionTimestamp.IsZero() {
		return nil
	}
	o.log.Info("Deleting a namespace whose virtual cluster is gone", "namespace", namespace.Name,
		"vcluster", namespace.Labels[mapping.LabelNamespace]+"/"+namespace.Labels[mapping.LabelName])
	// The resource version too: what has just been relabelled is to be looked at again.
	preconditions := client.Preconditions{UID: ptr.To[types.UID](namespace.UID), ResourceVersion: ptr.To(namespace.ResourceVersion)}
	err := o.host.Delete(ctx, namespace, preconditions)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Namespace %q: %w", namespace.Name, err)
	}
	return nil
}

// isOurNamespace tells whether labels and name agree that the agent made this namespace.
func isOurNamespace(namespace *corev1.Namespace) bool {
	id := namespace.Labels[mapping.LabelID]
	if !mapping.IsID(id) || namespace.Labels[mapping.LabelUID] == "" {
		return false
	}
	switch namespace.Labels[mapping.LabelKind] {
	case mapping.KindControl:
		return namespace.Name == mapping.ControlNamespace(id)
	case mapping.KindMapped:
		return namespace.Name == mapping.HostNamespace(id, namespace.Labels[mapping.LabelTenantNamespace])
	default:
		return false
	}
}

// isOrphan asks the API server itself: a cache that is behind must not cost anybody a virtual cluster.
func (o *orphanCollector) isOrphan(ctx context.Context, namespace *corev1.Namespace) (bool, error) {
	var vc clusterv1alpha1.VirtualCluster
	key := client.ObjectKey{Namespace: namespace.Labels[mapping.LabelNamespace], Name: namespace.Labels[mapping.LabelName]}
	err := o.host.Get(ctx, key, &vc)
	if apierrors.IsNotFound(err) {
		// A host that does not serve the kind at all says the same of every one of them.
		if err := o.host.List(ctx, &clusterv1alpha1.VirtualClusterList{}, client.InNamespace(key.Namespace), client.Limit(1)); err != nil {
			return false, fmt.Errorf("list VirtualClusters in Namespace %q: %w", key.Namespace, err)
		}
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get VirtualCluster %q: %w", key, err)
	}
	return string(vc.UID) != namespace.Labels[mapping.LabelUID], nil
}
