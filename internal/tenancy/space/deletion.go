package space

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
)

// deletionPoll is the fallback for the event that something is gone.
const deletionPoll = 2 * time.Second

// finalize takes a space down in its order and then lets its object go.
func (r *Reconciler) finalize(ctx context.Context, space *tenancyv1alpha1.Space) (reconcile.Result, error) {
	if !slices.Contains(space.Finalizers, tenancyv1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	waitingFor, err := r.takeDown(ctx, space)
	if err == nil && waitingFor == "" {
		return reconcile.Result{}, finalizer.Remove(ctx, r.host, space, tenancyv1alpha1.Finalizer, fieldManager)
	}
	if apierrors.IsConflict(err) {
		return reconcile.Result{}, err
	}
	found := findings{namespaceUID: space.Status.NamespaceUID}
	found.verdict = verdict{reason: reasonTerminating, message: "Waiting for the end of " + waitingFor}
	if err != nil {
		found.verdict.message = hostError(err).message
	}
	if statusErr := r.report(ctx, space, found); statusErr != nil {
		return reconcile.Result{}, statusErr
	}
	return reconcile.Result{RequeueAfter: deletionPoll}, err
}

// takeDown returns what is still there and has to be waited for.
func (r *Reconciler) takeDown(ctx context.Context, space *tenancyv1alpha1.Space) (waitingFor string, err error) {
	namespace, err := r.findNamespace(ctx, space)
	if err != nil {
		return "", err
	}
	if namespace != nil && IsNamespaceOf(namespace, space) {
		if waitingFor, err = r.empty(ctx, space); err != nil || waitingFor != "" {
			return waitingFor, err
		}
		if err := r.deleteNamespace(ctx, namespace); err != nil {
			return "", err
		}
		return "the namespace " + namespace.Name, nil
	}
	return "", r.slots.Release(ctx, space.Spec.Account, space.UID)
}

// empty ends what needs more than the end of its namespace.
func (r *Reconciler) empty(ctx context.Context, space *tenancyv1alpha1.Space) (waitingFor string, err error) {
	// Nobody may make anything new meanwhile.
	binding, err := r.binding(ctx, space)
	if err != nil {
		return "", err
	}
	if binding != nil {
		if err := r.unbind(ctx, binding); err != nil {
			return "", err
		}
	}
	if waitingFor, err = r.deleteVirtualClusters(ctx, space); err != nil || waitingFor != "" {
		return waitingFor, err
	}
	for _, step := range r.options.BeforeNamespace {
		done, waitingFor, err := step(ctx, space)
		if err != nil || !done {
			return waitingFor, err
		}
	}
	return "", nil
}

// deleteVirtualClusters asks the API server itself what there is: one that the watch does not show yet would lose its namespace
// before its control plane.
func (r *Reconciler) deleteVirtualClusters(ctx context.Context, space *tenancyv1alpha1.Space) (waitingFor string, err error) {
	var list clusterv1alpha1.VirtualClusterList
	if err := r.host.List(ctx, &list, client.InNamespace(space.Name)); err != nil {
		return "", fmt.Errorf("list the virtual clusters of the space: %w", err)
	}
	var names []string
	for index := range list.Items {
		vc := &list.Items[index]
		names = append(names, vc.Name)
		if !vc.DeletionTimestamp.IsZero() {
			continue
		}
		err := r.host.Delete(ctx, vc, client.Preconditions{UID: &vc.UID})
		if client.IgnoreNotFound(err) != nil {
			return "", fmt.Errorf("delete VirtualCluster %q: %w", vc.Namespace+"/"+vc.Name, err)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	return "the virtual clusters " + strings.Join(names, ", "), nil
}

func (r *Reconciler) deleteNamespace(ctx context.Context, namespace *corev1.Namespace) error {
	if !namespace.DeletionTimestamp.IsZero() {
		return nil
	}
	err := r.host.Delete(ctx, namespace, client.Preconditions{UID: &namespace.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete Namespace %q: %w", namespace.Name, err)
	}
	return nil
}
