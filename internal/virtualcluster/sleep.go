package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/notice"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep"
)

// A virtual cluster that sleeps has no host pods and no control plane; everything else of it stays on the host. The way there and
// back is written down step by step in status.sleep.phase, each step before anything is done for it, so that whoever takes over
// goes on where the other one was:
//
//	FallingAsleep  the sync lets go, the host pods are deleted, the control plane goes to zero
//	Asleep         nothing runs
//	Waking         what is left of the pods of the earlier epoch is deleted, the control plane comes up, the sync makes the pods anew
//
// status.sleep.epoch rises with FallingAsleep. By it the sync tells host pods that slept from host pods that were lost.

const (
	// restPoll is how often it is looked whether the sync has let go, and fallPoll whether pods are gone.
	restPoll = 20 * time.Millisecond
	fallPoll = 250 * time.Millisecond
	// fallAtMost is how long pods may take to end before the control plane goes without waiting for them.
	fallAtMost = 2 * time.Minute
)

// decideSleep brings status.sleep and its conditions to what must be, and returns when time alone may change that.
func (r *Reconciler) decideSleep(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	now, status := r.options.Clock.Now(), &vc.Status.Sleep
	activity := sleep.Told(vc.Annotations, tenancyv1alpha1.AnnotationActivity, now)
	wakeAsked := sleep.Told(vc.Annotations, tenancyv1alpha1.AnnotationWake, now)
	if wakeAsked.After(activity) {
		activity = wakeAsked
	}
	sleep.Observe(status, vc.Spec.Sleep, activity, now)
	situation := sleep.Situation{Policy: vc.Spec.Sleep, Status: *status, CannotSleep: whyNeverAsleep(vc), WakeAsked: wakeAsked, Now: now}
	var err error
	if situation.Held, situation.HeldMessage, err = r.hold(ctx, vc); err != nil {
		return 0, err
	}
	decision := sleep.Decide(situation)
	isSuspended, err := r.isSuspended(ctx, vc)
	if err != nil {
		return 0, err
	}
	if isSuspended && status.IsAsleep() && !decision.Asleep && decision.Reason != tenancyv1alpha1.ReasonCannotSleep {
		decision.Asleep, decision.Reason = true, status.Cause
		decision.Message = "It would wake, but its account is suspended; ask whoever runs the host cluster"
	}
	full, err := r.claimRunning(ctx, vc, decision)
	if err != nil {
		return 0, err
	}
	if full != "" && status.IsAsleep() {
		decision.Asleep, decision.Reason, decision.Message = true, clusterv1alpha1.ReasonAccountLimitReached, full
		decision.LookAgain = now.Add(placePeriod)
	}
	switch {
	case decision.Asleep && !status.IsAsleep():
		sleep.FallAsleep(status, decision.Reason, now)
		setAsleepProgress(vc, reasonFallingAsleep, "The virtual cluster is falling asleep")
	case decision.Asleep:
		sleep.Resume(status, decision.Reason)
	case status.IsAsleep():
		sleep.WakeUp(status, now)
		setAsleepProgress(vc, reasonWaking, "The virtual cluster is waking")
	}
	status.NextChange = nil
	if !decision.NextChange.IsZero() {
		status.NextChange = &metav1.Time{Time: decision.NextChange.Truncate(time.Second)}
	}
	reportSleep(vc, decision)
	return until(decision.LookAgain, now), nil
}

// claimRunning claims the place of a virtual cluster that runs or is to run; full says why there is none for it. One that runs
// goes on without.
func (r *Reconciler) claimRunning(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, decision sleep.Decision) (full string, err error) {
	if r.options.Places == nil || decision.Asleep {
		return "", nil
	}
	err = r.options.Places.run(ctx, vc)
	if isNoPlace(err) {
		return err.Error(), nil
	}
	return "", err
}

func reportSleep(vc *clusterv1alpha1.VirtualCluster, decision sleep.Decision) {
	if decision.Reason == tenancyv1alpha1.ReasonNoPolicy && vc.Status.Sleep.Epoch == 0 {
		apimeta.RemoveStatusCondition(&vc.Status.Conditions, tenancyv1alpha1.ConditionAsleep)
		return
	}
	is := metav1.ConditionFalse
	if decision.Asleep {
		is = metav1.ConditionTrue
	}
	setCondition(vc, tenancyv1alpha1.ConditionAsleep, is, decision.Reason, decision.Message)
}

// until is how long it is until a time, at least a moment; 0 is never.
func until(at, now time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now), 10*time.Millisecond)
}

func whyNeverAsleep(vc *clusterv1alpha1.VirtualCluster) string {
	if vc.Spec.Store.Type == clusterv1alpha1.StoreMemory {
		return "Its store is memory: its objects would be gone. Create a virtual cluster with spec.store.type sqlite"
	}
	return ""
}

func (r *Reconciler) hold(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reason, message string, err error) {
	if r.options.Hold == nil {
		return "", "", nil
	}
	if reason, message, err = r.options.Hold(ctx, vc); err != nil {
		return "", "", fmt.Errorf("find out whether the virtual cluster may run: %w", err)
	}
	return reason, message, nil
}

func (r *Reconciler) isSuspended(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (bool, error) {
	if r.options.Suspended == nil {
		return false, nil
	}
	isSuspended, err := r.options.Suspended(ctx, vc)
	if err != nil {
		return false, fmt.Errorf("find out whether the account of the virtual cluster is suspended: %w", err)
	}
	return isSuspended, nil
}

// noteSleep brings into the registry at once what has just been written down: its own way there is through a cache.
func (r *Reconciler) noteSleep(vc *clusterv1alpha1.VirtualCluster) {
	tenant, ok := r.options.Registry.ByUID(vc.UID)
	if !ok {
		return
	}
	tenant.Asleep, tenant.SleepEpoch = vc.Status.Sleep.IsAsleep(), vc.Status.Sleep.Epoch
	tenant.Waking = vc.Status.Sleep.Phase == tenancyv1alpha1.PhaseWaking
	if tenant.Asleep || tenant.Waking {
		tenant.Ready = false
	}
	r.options.Registry.Advance(tenant)
}

// isAtRest tells whether the sync has let go of it.
func (r *Reconciler) isAtRest(vc *clusterv1alpha1.VirtualCluster) bool {
	return r.options.AtRest == nil || r.options.AtRest(vc.UID)
}

func (r *Reconciler) fallAsleep(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	if err := r.checkStillFalls(ctx, vc); err != nil {
		return 0, err
	}
	r.noteSleep(vc)
	if !r.isAtRest(vc) {
		return restPoll, nil
	}
	stopped, err := r.stopPods(ctx, vc)
	if err != nil {
		return 0, err
	}
	if vc.Status.Sleep.Saved == nil {
		vc.Status.Sleep.Saved = &stopped.saved
	}
	isLate := vc.Status.Sleep.Since != nil && r.options.Clock.Since(vc.Status.Sleep.Since.Time) > fallAtMost
	if stopped.left > 0 && (stopped.running > 0 || !isLate) {
		return fallPoll, nil
	}
	r.memory.noteStopped(vc.UID, vc.Status.Sleep.Epoch)
	made, err := r.ensure(ctx, vc)
	if err != nil {
		return 0, err
	}
	if stopped.control > 0 && !isLate {
		return fallPoll, nil
	}
	// What is open leads to a pod that is gone, and the first questions after waking would be put to it.
	made.connection.close()
	vc.Status.Sleep.Phase = tenancyv1alpha1.PhaseAsleep
	setAsleepProgress(vc, reasonAsleep, "The virtual cluster sleeps; a connection to it wakes it")
	return restPoll, nil
}

// checkStillFalls asks the host itself: pods of a virtual cluster that has been woken meanwhile are not to be stopped.
func (r *Reconciler) checkStillFalls(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	var live clusterv1alpha1.VirtualCluster
	if err := r.host.Get(ctx, client.ObjectKeyFromObject(vc), &live); err != nil {
		return fmt.Errorf("get VirtualCluster %q: %w", vc.Namespace+"/"+vc.Name, err)
	}
	isSame := live.UID == vc.UID && live.Status.Sleep.Epoch == vc.Status.Sleep.Epoch && live.Status.Sleep.Phase == vc.Status.Sleep.Phase
	if isSame {
		return nil
	}
	return &retrySoonError{after: 100 * time.Millisecond, err: fmt.Errorf("the cache of VirtualCluster %q is behind", vc.Namespace+"/"+vc.Name)}
}

// stayAsleep keeps up what stays on the host, and deletes what has slept for too long.
func (r *Reconciler) stayAsleep(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	r.noteSleep(vc)
	if r.options.Places != nil {
		if err := r.options.Places.rest(ctx, vc); err != nil {
			return 0, err
		}
	}
	made, err := r.ensure(ctx, vc)
	if err != nil {
		return 0, err
	}
	setAsleepProgress(vc, reasonAsleep, "The virtual cluster sleeps; "+howToWake(vc))
	if full := apimeta.FindStatusCondition(vc.Status.Conditions, tenancyv1alpha1.ConditionAsleep); full != nil && full.Reason == clusterv1alpha1.ReasonAccountLimitReached {
		setAsleepProgress(vc, full.Reason, full.Message)
	}
	look, err := r.reportDeletion(ctx, vc)
	if err != nil {
		return 0, err
	}
	now := r.options.Clock.Now()
	return soonest(look, max(time.Second, min(resyncPeriod, made.renewAt.Sub(now)))), nil
}

func howToWake(vc *clusterv1alpha1.VirtualCluster) string {
	if vc.Status.Sleep.Cause == tenancyv1alpha1.ReasonForced {
		return "it wakes when spec.sleep.force is taken off"
	}
	return "a connection to it wakes it"
}

// wake stops what may be left of the earlier epoch, so that nothing of it is taken for what runs, and then brings it up.
func (r *Reconciler) wake(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	r.noteDeletionOver(vc)
	if left, err := r.stopEarlier(ctx, vc); err != nil || left {
		return fallPoll, err
	}
	wait, err := r.beAwake(ctx, vc)
	if err == nil && apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionReady) {
		vc.Status.Sleep.Phase = tenancyv1alpha1.PhaseAwake
	}
	return wait, err
}

// stopEarlier tells whether pods of an earlier epoch are left that nobody has asked to end. That none is stays true.
func (r *Reconciler) stopEarlier(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (bool, error) {
	if r.memory.hasStopped(vc.UID, vc.Status.Sleep.Epoch) || apimeta.IsStatusConditionTrue(vc.Status.Conditions, clusterv1alpha1.ConditionControlPlaneReady) {
		return false, nil
	}
	r.noteSleep(vc)
	if !r.isAtRest(vc) {
		return true, nil
	}
	stopped, err := r.stopPods(ctx, vc)
	if err != nil || stopped.running > 0 {
		return true, err
	}
	r.memory.noteStopped(vc.UID, vc.Status.Sleep.Epoch)
	return false, nil
}

// setAsleepProgress says that it cannot be used now.
func setAsleepProgress(vc *clusterv1alpha1.VirtualCluster, reason, message string) {
	setProgress(vc, reason, message)
	if apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionSynced) != nil {
		setCondition(vc, clusterv1alpha1.ConditionSynced, metav1.ConditionFalse, reason, message)
	}
}

// tellPhase tells the owner that it falls asleep or wakes.
func (r *Reconciler) tellPhase(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) {
	condition := apimeta.FindStatusCondition(vc.Status.Conditions, tenancyv1alpha1.ConditionAsleep)
	reason := "FallsAsleep"
	switch {
	case condition == nil:
		return
	case vc.Status.Sleep.Phase == tenancyv1alpha1.PhaseWaking:
		reason = "Wakes"
	case vc.Status.Sleep.Phase != tenancyv1alpha1.PhaseFallingAsleep:
		return
	}
	r.tell(ctx, vc, corev1.EventTypeNormal, reason, condition.Message)
}

// tell writes an event. That it fails is no reason to do anything else.
func (r *Reconciler) tell(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, eventType, reason, message string) {
	if err := notice.Tell(ctx, r.host, vc, vc.Namespace, eventType, reason, message); err != nil {
		r.log.Warn("Could not tell the owner of a virtual cluster", "namespace", vc.Namespace, "name", vc.Name, "reason", reason, "error", err.Error())
	}
}
