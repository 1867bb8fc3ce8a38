package spaces

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep"
)

const (
	// again is how soon something is looked at that was changed by others in the same moment.
	again = 100 * time.Millisecond
	// atMost is how long nothing is looked at that has a policy.
	atMost = 10 * time.Minute
)

// Reconciler is the controller of the sleep of spaces.
type Reconciler struct {
	options Options
	host    client.Client
	cached  client.Reader
	log     *slog.Logger
	clock   clock.PassiveClock
	seen    *seen
}

// spaceNow is a space with what decides about its sleep.
type spaceNow struct {
	// space is a copy of stored, with its sleep as it must be.
	stored      *tenancyv1alpha1.Space
	space       *tenancyv1alpha1.Space
	policy      *tenancyv1alpha1.SpaceSleep
	isSuspended bool
	clusters    []clusterv1alpha1.VirtualCluster
	now         time.Time
	deletion    sleep.Deletion
}

// Reconcile brings the sleep of one space a step closer to what it must be.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var space tenancyv1alpha1.Space
	if err := r.cached.Get(ctx, request.NamespacedName, &space); err != nil {
		if apierrors.IsNotFound(err) {
			r.seen.forget(request.Name)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	work, leave, ok := r.options.Shards.Enter(ctx, space.UID)
	if !ok {
		return reconcile.Result{}, nil // another replica's
	}
	defer leave()
	if !space.DeletionTimestamp.IsZero() || space.Status.NamespaceUID == "" {
		return reconcile.Result{}, nil
	}
	after, err := r.step(work, &space)
	switch {
	case work.Err() != nil && ctx.Err() == nil:
		return reconcile.Result{}, nil // another replica's by now
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: again}, nil
	default:
		return reconcile.Result{RequeueAfter: after}, err
	}
}

// step decides, writes down what is decided, and does it. A space that changes, or is in the middle of it, is read from the API
// server itself: a cache that is behind would undo what was done.
func (r *Reconciler) step(ctx context.Context, space *tenancyv1alpha1.Space) (time.Duration, error) {
	before := space.Status.Sleep.Phase
	decided, current, err := r.decide(ctx, space)
	if err != nil {
		return 0, err
	}
	isUnderWay := current.space.Status.Sleep.Phase != before || before == tenancyv1alpha1.PhaseFallingAsleep || before == tenancyv1alpha1.PhaseWaking
	if isUnderWay {
		var live tenancyv1alpha1.Space
		if err := r.host.Get(ctx, client.ObjectKeyFromObject(space), &live); err != nil {
			return 0, fmt.Errorf("get Space %q: %w", space.Name, err)
		}
		if live.UID != space.UID || !live.DeletionTimestamp.IsZero() {
			return again, nil
		}
		if decided, current, err = r.decide(ctx, &live); err != nil {
			return 0, err
		}
		if err := r.write(ctx, current, decided); err != nil {
			return 0, err
		}
		r.tellPhase(ctx, current, decided)
	}
	after, err := r.act(ctx, current)
	if err != nil {
		return 0, err
	}
	if err := r.write(ctx, current, decided); err != nil {
		return 0, err
	}
	return soonest(after, until(decided.LookAgain, current.now)), nil
}

// tellPhase tells the owner of a space that it falls asleep or wakes, when that begins.
func (r *Reconciler) tellPhase(ctx context.Context, current *spaceNow, decided sleep.Decision) {
	phase := current.space.Status.Sleep.Phase
	if phase == current.stored.Status.Sleep.Phase {
		return
	}
	switch phase {
	case tenancyv1alpha1.PhaseFallingAsleep:
		r.tell(ctx, current.space, corev1.EventTypeNormal, "FallsAsleep", decided.Message)
	case tenancyv1alpha1.PhaseWaking:
		r.tell(ctx, current.space, corev1.EventTypeNormal, "Wakes", decided.Message)
	}
}

// decide returns a copy of the space with its sleep as it must be.
func (r *Reconciler) decide(ctx context.Context, space *tenancyv1alpha1.Space) (sleep.Decision, *spaceNow, error) {
	current, err := r.gather(ctx, space)
	if err != nil {
		return sleep.Decision{}, nil, err
	}
	status := &current.space.Status.Sleep
	wakeAsked, activity := r.told(current)
	sleep.Observe(status, policyOf(current), activity, current.now)
	decision := sleep.Decide(sleep.Situation{Policy: policyOf(current), Status: *status, WakeAsked: wakeAsked, Now: current.now})
	if current.isSuspended && status.IsAsleep() && !decision.Asleep {
		decision.Asleep, decision.Reason = true, status.Cause
		decision.Message = "It would wake, but its account is suspended; ask whoever runs the host cluster"
	}
	switch {
	case decision.Asleep && !status.IsAsleep():
		sleep.FallAsleep(status, decision.Reason, current.now)
	case decision.Asleep:
		sleep.Resume(status, decision.Reason)
	case status.IsAsleep():
		sleep.WakeUp(status, current.now)
	}
	status.NextChange = nil
	if !decision.NextChange.IsZero() {
		status.NextChange = &metav1.Time{Time: decision.NextChange.Truncate(time.Second)}
	}
	return decision, current, nil
}

func policyOf(current *spaceNow) *tenancyv1alpha1.Sleep {
	if current.policy == nil {
		return nil
	}
	return &current.policy.Sleep
}

func (r *Reconciler) gather(ctx context.Context, space *tenancyv1alpha1.Space) (*spaceNow, error) {
	current := &spaceNow{stored: space, space: space.DeepCopy(), policy: space.Spec.Sleep, now: r.clock.Now()}
	var account tenancyv1alpha1.Account
	err := r.cached.Get(ctx, client.ObjectKey{Name: space.Spec.Account}, &account)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get Account %q: %w", space.Spec.Account, err)
	}
	// Without its account nothing is begun for it either.
	current.isSuspended = err != nil || account.Spec.Suspended
	if current.policy == nil {
		current.policy = account.Spec.Spaces.Sleep
	}
	var clusters clusterv1alpha1.VirtualClusterList
	if err := r.cached.List(ctx, &clusters, client.InNamespace(space.Name)); err != nil {
		return nil, fmt.Errorf("list the virtual clusters of space %q: %w", space.Name, err)
	}
	current.clusters = clusters.Items
	return current, nil
}

// told is when somebody last asked for the space or a virtual cluster in it to wake, and when something was last seen to happen.
// What somebody starts in a space that sleeps wakes it.
func (r *Reconciler) told(current *spaceNow) (wakeAsked, activity time.Time) {
	touched := r.seen.at(current.space.Name)
	annotated := []map[string]string{current.space.Annotations}
	for index := range current.clusters {
		annotated = append(annotated, current.clusters[index].Annotations)
	}
	wakeAsked, activity = touched, touched
	for _, annotations := range annotated {
		wakeAsked = later(wakeAsked, sleep.Told(annotations, tenancyv1alpha1.AnnotationWake, current.now))
		activity = later(activity, sleep.Told(annotations, tenancyv1alpha1.AnnotationActivity, current.now))
	}
	return wakeAsked, later(activity, wakeAsked)
}

// act does what the phase asks for and returns when to look again; 0 is never.
func (r *Reconciler) act(ctx context.Context, current *spaceNow) (time.Duration, error) {
	status := &current.space.Status.Sleep
	if status.Phase == "" || status.Phase == tenancyv1alpha1.PhaseAwake {
		return 0, nil
	}
	if err := r.checkNamespace(ctx, current.space); err != nil {
		return 0, err
	}
	workloads, err := r.workloads(ctx, current.space.Name)
	if err != nil {
		return 0, err
	}
	switch status.Phase {
	case tenancyv1alpha1.PhaseFallingAsleep:
		return r.fallAsleep(ctx, current, workloads)
	case tenancyv1alpha1.PhaseWaking:
		isDone, err := r.apply(ctx, workloads, awakePatch)
		if err != nil || !isDone {
			return again, err
		}
		status.Phase = tenancyv1alpha1.PhaseAwake
		return 0, nil
	default:
		status.Saved = new(savedBy(workloads))
		return r.considerDeletion(ctx, current, workloads)
	}
}

func (r *Reconciler) fallAsleep(ctx context.Context, current *spaceNow, workloads []workload) (time.Duration, error) {
	isDone, err := r.apply(ctx, workloads, asleepPatch)
	if err != nil || !isDone {
		return again, err
	}
	if current.policy != nil && current.policy.BarePods == tenancyv1alpha1.BarePodsDelete {
		if err := r.deleteBarePods(ctx, current.space.Name); err != nil {
			return 0, err
		}
	}
	// The patches have brought the workloads up to date, replicas and all.
	if workloads, err = r.workloads(ctx, current.space.Name); err != nil {
		return 0, err
	}
	current.space.Status.Sleep.Saved = new(savedBy(workloads))
	current.space.Status.Sleep.Phase = tenancyv1alpha1.PhaseAsleep
	return again, nil
}

// checkNamespace makes sure that the namespace of this name is the space's: nothing is scaled in anybody else's.
func (r *Reconciler) checkNamespace(ctx context.Context, space *tenancyv1alpha1.Space) error {
	var namespace corev1.Namespace
	if err := r.host.Get(ctx, client.ObjectKey{Name: space.Name}, &namespace); err != nil {
		return fmt.Errorf("get Namespace %q: %w", space.Name, err)
	}
	if namespace.UID != space.Status.NamespaceUID || namespace.Labels[mapping.LabelKind] != mapping.KindSpace {
		return fmt.Errorf("the Namespace %q is not the one of the space; nothing in it is touched", space.Name)
	}
	return nil
}

func (r *Reconciler) write(ctx context.Context, current *spaceNow, decided sleep.Decision) error {
	status := current.space.Status.Sleep
	if decided.Reason == tenancyv1alpha1.ReasonNoPolicy && status.Epoch == 0 {
		return nil // nobody asks, and there is nothing to tell
	}
	asleep := metav1.Condition{Type: tenancyv1alpha1.ConditionAsleep, Status: metav1.ConditionFalse, Reason: decided.Reason, Message: decided.Message}
	if decided.Asleep {
		asleep.Status = metav1.ConditionTrue
	}
	part := report.Part{Fields: map[string]any{"sleep": status}, Conditions: []metav1.Condition{asleep}}
	if due := deletionCondition(current); due != nil {
		part.Conditions = append(part.Conditions, *due)
	}
	return report.Write(ctx, r.host, current.stored, current.stored.Status.Conditions, fieldManager, part)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// until is how long it is until a time, at least a moment; 0 is never.
func until(at, now time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return min(atMost, max(at.Sub(now), 10*time.Millisecond))
}

// soonest is the earlier of two times to look again, of which 0 means never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
