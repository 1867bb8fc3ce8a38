package virtualcluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// deletionPoll is the fallback for the event that a namespace is gone.
const deletionPoll = 2 * time.Second

// finalize takes everything of a virtual cluster down and then lets its object go. It finds what there is by the UID,
// so that it works from whatever point the creation has reached.
func (r *Reconciler) finalize(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(vc, clusterv1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	before := vc.DeepCopy()
	// First of all nothing new may be made.
	r.markTerminating(vc)
	remaining, err := r.takeDown(ctx, vc)
	switch {
	case err != nil:
		setProgress(vc, reasonTerminating, rootMessage(err))
	case len(remaining) == 0:
		return reconcile.Result{}, r.letGo(ctx, vc)
	default:
		setProgress(vc, reasonTerminating, "Waiting for the end of the namespaces "+strings.Join(remaining, ", "))
	}
	statusErr := r.reportAndWrite(ctx, before, vc, nil)
	if err != nil {
		return outcome(0, err)
	}
	return outcome(deletionPoll, statusErr)
}

func (r *Reconciler) markTerminating(vc *clusterv1alpha1.VirtualCluster) {
	tenant, ok := r.options.Registry.ByUID(vc.UID)
	if ok && !tenant.Terminating {
		tenant.Terminating = true
		tenant.Ready = false
		r.options.Registry.Set(tenant)
	}
}

// takeDown asks for the deletion of everything, the tenant's pods before the control plane that they may still be
// talking to, and returns the namespaces that are still there.
func (r *Reconciler) takeDown(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) ([]string, error) {
	if err := r.deleteKubeconfig(ctx, vc); err != nil {
		return nil, err
	}
	namespaces, err := r.ownNamespaces(ctx, vc)
	if err != nil {
		return nil, err
	}
	var remaining []string
	for _, kind := range []string{mapping.KindMapped, mapping.KindControl} {
		for _, namespace := range namespaces {
			if namespace.Labels[mapping.LabelKind] != kind || !namespace.DeletionTimestamp.IsZero() {
				continue
			}
			if err := r.emptyAndDelete(ctx, &namespace); err != nil {
				return nil, err
			}
		}
	}
	for _, namespace := range namespaces {
		remaining = append(remaining, namespace.Name)
		if err := releasePods(ctx, r.host, namespace.Name); err != nil {
			return nil, err
		}
	}
	slices.Sort(remaining)
	return remaining, nil
}

// letGo removes the finalizer. Nothing of the virtual cluster is left on the host.
func (r *Reconciler) letGo(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	r.options.Registry.Delete(vc.UID)
	r.connections.forget(vc.UID)
	r.memory.forget(vc.UID)
	key := client.ObjectKeyFromObject(vc)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var fresh clusterv1alpha1.VirtualCluster
		if err := r.host.Get(ctx, key, &fresh); err != nil {
			return err
		}
		if fresh.UID != vc.UID || !controllerutil.RemoveFinalizer(&fresh, clusterv1alpha1.Finalizer) {
			return nil
		}
		return r.host.Update(ctx, &fresh, fieldManager)
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the finalizer: %w", err)
	}
	return nil
}
