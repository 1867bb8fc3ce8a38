package virtualcluster

import (
	"context"
	"errors"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
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
	r.memory.keep(vc.UID, r.options.Shards.Term(vc.UID))
	if !ok {
		return reconcile.Result{}, nil // not this replica's now; it comes again when it is
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
	// Nothing may be made before the finalizer is stored.
	if err := finalizer.Add(ctx, r.host, vc, clusterv1alpha1.Finalizer, fieldManager); err != nil {
		return outcome(0, err)
	}
	return r.run(ctx, vc)
}

// run applies, waits and reports. The status is written when the ID is known, since everything else carries it, and at
// the end.
func (r *Reconciler) run(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reconcile.Result, error) {
	before := vc.DeepCopy()
	if vc.Status.ID == "" {
		err := r.begin(ctx, vc)
		if statusErr := r.reportAndWrite(ctx, before, vc, err); statusErr != nil || err != nil {
			return outcome(0, errors.Join(err, statusErr))
		}
		before = vc.DeepCopy()
	}
	look, err := r.decideSleep(ctx, vc)
	if err != nil {
		return outcome(0, err)
	}
	if vc.Status.Sleep.Phase != before.Status.Sleep.Phase {
		// What is to be stopped or started is written down before anything is done for it.
		if err := r.reportAndWrite(ctx, before, vc, nil); err != nil {
			return outcome(0, err)
		}
		r.noteSleep(vc)
		r.memory.of(vc.UID).waitingSince = time.Time{} // what is waited for is another thing now
		r.tellPhase(ctx, vc)
		before = vc.DeepCopy()
	}
	wait, err := r.advance(ctx, vc)
	statusErr := r.reportAndWrite(ctx, before, vc, err)
	return outcome(soonest(wait, look), errors.Join(err, statusErr))
}

// begin reserves the ID of a virtual cluster for which there is room. Nothing of it is on the host before.
func (r *Reconciler) begin(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	if r.options.Places != nil {
		if err := r.options.Places.begin(ctx, vc); err != nil {
			return err
		}
	}
	return r.reserveID(ctx, vc)
}

func isNoPlace(err error) bool {
	var full *noPlaceError
	return errors.As(err, &full)
}

// soonest is the earlier of two times to look again, of which 0 means never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// advance returns after how long the virtual cluster has to be looked at again.
func (r *Reconciler) advance(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	switch vc.Status.Sleep.Phase {
	case tenancyv1alpha1.PhaseFallingAsleep:
		return r.fallAsleep(ctx, vc)
	case tenancyv1alpha1.PhaseAsleep:
		return r.stayAsleep(ctx, vc)
	case tenancyv1alpha1.PhaseWaking:
		return r.wake(ctx, vc)
	default:
		return r.beAwake(ctx, vc)
	}
}

func (r *Reconciler) beAwake(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
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
	case isNoPlace(err):
		return reconcile.Result{RequeueAfter: placePeriod}, nil
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
