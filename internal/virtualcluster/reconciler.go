package virtualcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// resyncPeriod is how often everything of a virtual cluster is applied anew although nothing was heard: Secrets and
// ConfigMaps are not watched.
const resyncPeriod = 10 * time.Minute

// Reconciler is the lifecycle controller. It runs on every replica of the agent, each for the virtual clusters that are its own.
type Reconciler struct {
	options *Options
	log     *slog.Logger
	// host reads and writes directly; cached reads what the agent watches.
	host   client.Client
	cached client.Reader

	connections *connections
	memory      *memory
}

// Reconcile brings one virtual cluster a step closer to what its object says.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var vc clusterv1alpha1.VirtualCluster
	if err := r.cached.Get(ctx, request.NamespacedName, &vc); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	work, leave, ok := r.options.Shards.Enter(ctx, vc.UID)
	if !ok {
		r.memory.forget(vc.UID)
		return reconcile.Result{}, nil // another replica's; it comes again when this one gains it
	}
	defer leave()
	result, err := r.advanceOwn(work, &vc)
	if work.Err() != nil && ctx.Err() == nil {
		return reconcile.Result{}, nil // another replica's by now, which tries again
	}
	return result, err
}

func (r *Reconciler) advanceOwn(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reconcile.Result, error) {
	if !vc.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, vc)
	}
	if vc.Spec.Paused {
		return r.pause(ctx, vc)
	}
	if controllerutil.AddFinalizer(vc, clusterv1alpha1.Finalizer) {
		// Nothing may be made before the finalizer is stored.
		if err := r.host.Update(ctx, vc, fieldManager); err != nil {
			return outcome(0, fmt.Errorf("add the finalizer: %w", err))
		}
	}
	return r.run(ctx, vc)
}

// run applies, waits and reports. The status is written when the ID is known, since everything else carries it, and at
// the end.
func (r *Reconciler) run(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reconcile.Result, error) {
	before := vc.DeepCopy()
	if vc.Status.ID == "" {
		err := r.reserveID(ctx, vc)
		if statusErr := r.reportAndWrite(ctx, before, vc, err); statusErr != nil || err != nil {
			return outcome(0, errors.Join(err, statusErr))
		}
		before = vc.DeepCopy()
	}
	wait, err := r.advance(ctx, vc)
	statusErr := r.reportAndWrite(ctx, before, vc, err)
	return outcome(wait, errors.Join(err, statusErr))
}

// advance returns after how long the virtual cluster has to be looked at again.
func (r *Reconciler) advance(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	made, err := r.ensure(ctx, vc)
	if err != nil {
		return 0, err
	}
	return r.awaitReady(ctx, vc, made)
}

// outcome translates an error into what the queue does: nothing for what only a change of the spec can repair, a short
// wait for what passes by itself, back-off for the rest.
func outcome(wait time.Duration, err error) (reconcile.Result, error) {
	var soon *retrySoonError
	switch {
	case err == nil:
		return reconcile.Result{RequeueAfter: wait}, nil
	case isRefusal(err):
		return reconcile.Result{}, reconcile.TerminalError(err)
	case errors.As(err, &soon):
		return reconcile.Result{RequeueAfter: soon.after}, nil
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
	default:
		return reconcile.Result{}, err
	}
}

// retrySoonError is a state that passes by itself, without anything to complain about.
type retrySoonError struct {
	after time.Duration
	err   error
}

func (e *retrySoonError) Error() string { return e.err.Error() }
func (e *retrySoonError) Unwrap() error { return e.err }

// isRefusal tells whether the host says that the object itself is wrong: asking again changes nothing.
func isRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}

var _ reconcile.Reconciler = (*Reconciler)(nil)
