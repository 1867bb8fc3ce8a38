package virtualcluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	// deletionPoll is the fallback for the event that a namespace is gone.
	deletionPoll = 2 * time.Second
	// podPoll is how soon to look for the first time whether pods are gone.
	podPoll = 150 * time.Millisecond
)

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
	return outcome(r.untilNextLook(vc), statusErr)
}

// untilNextLook is a part of the time that the deletion has taken: most pods end within two seconds, and only those of control
// planes are watched here.
func (r *Reconciler) untilNextLook(vc *clusterv1alpha1.VirtualCluster) time.Duration {
	return min(max(podPoll, r.options.Clock.Since(vc.DeletionTimestamp.Time)/8), deletionPoll)
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
	for _, kind := range []string{mapping.KindMapped, mapping.KindControl} {
		err := eachOf(ctx, namespaces, func(ctx context.Context, namespace *corev1.Namespace) error {
			if namespace.Labels[mapping.LabelKind] != kind || !namespace.DeletionTimestamp.IsZero() {
				return nil
			}
			return r.emptyAndDelete(ctx, namespace)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := r.clear(ctx, vc.UID, namespaces); err != nil {
		return nil, err
	}
	var remaining []string
	for _, namespace := range namespaces {
		remaining = append(remaining, namespace.Name)
	}
	slices.Sort(remaining)
	return remaining, nil
}

// atOnce is how many namespaces of one virtual cluster are worked on at a time.
const atOnce = 8

func eachOf(ctx context.Context, namespaces []corev1.Namespace, do func(context.Context, *corev1.Namespace) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range namespaces {
		group.Go(func() error { return do(ctx, &namespaces[i]) })
	}
	return group.Wait()
}

// letGo removes the finalizer. Nothing of the virtual cluster is left on the host.
func (r *Reconciler) letGo(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	if r.options.Places != nil {
		if err := r.options.Places.end(ctx, vc); err != nil {
			return err
		}
	}
	r.options.Registry.Delete(vc.UID)
	r.connections.forget(vc.UID)
	r.memory.end(vc.UID)
	key := client.ObjectKeyFromObject(vc)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var fresh clusterv1alpha1.VirtualCluster
		if err := r.host.Get(ctx, key, &fresh); err != nil {
			return err
		}
		if fresh.UID != vc.UID {
			return nil
		}
		return finalizer.Remove(ctx, r.host, &fresh, clusterv1alpha1.Finalizer, fieldManager)
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}
