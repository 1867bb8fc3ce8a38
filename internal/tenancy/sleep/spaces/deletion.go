package spaces

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/notice"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep"
)

const reasonNotDue = "NotDue"

// usedAgain is when a space that is due and used is looked at again: its pods are not watched.
const usedAgain = 5 * time.Minute

// considerDeletion warns of the deletion of a space that has slept for idleness, deletes it when the time has come, and returns when
// to look again. What runs in it all the same, or belongs to a suspended account, is never deleted.
func (r *Reconciler) considerDeletion(ctx context.Context, current *spaceNow, workloads []workload) (time.Duration, error) {
	status := &current.space.Status.Sleep
	if current.isSuspended || len(runningClusters(current)) > 0 || slices.ContainsFunc(workloads, workload.runs) {
		r.seen.endWarning(current.space.Name)
		status.DeleteAt, status.WarnedSeconds = nil, 0
		return 0, nil
	}
	stored := status.WarnedSeconds
	warnedFor := time.Duration(stored)*time.Second + r.seen.sinceWarned(current.space.Name, current.now)
	current.deletion = sleep.Delete(policyOf(current), status, warnedFor, current.now)
	status.DeleteAt, status.WarnedSeconds = nil, 0
	if current.deletion.At.IsZero() {
		r.seen.endWarning(current.space.Name)
		return 0, nil
	}
	status.DeleteAt = &metav1.Time{Time: current.deletion.At.Truncate(time.Second)}
	if !current.deletion.Warned {
		r.seen.endWarning(current.space.Name)
		return until(current.deletion.LookAgain, current.now), nil
	}
	wasTold := apimeta.IsStatusConditionTrue(current.space.Status.Conditions, tenancyv1alpha1.ConditionDeletionDue)
	if due := deletionCondition(current); !wasTold && due != nil {
		r.tell(ctx, current.space, corev1.EventTypeWarning, tenancyv1alpha1.ConditionDeletionDue, due.Message)
	}
	if current.deletion.Due && wasTold {
		status.WarnedSeconds = stored
		isUsed, err := r.isUsed(ctx, current)
		if err != nil {
			return 0, err
		}
		if isUsed {
			return usedAgain, nil
		}
		return time.Second, r.delete(ctx, current.space)
	}
	status.WarnedSeconds = int64(warnedFor / time.Second)
	r.seen.warned(current.space.Name, current.now.Add(time.Duration(status.WarnedSeconds)*time.Second-warnedFor))
	look := min(atMost, max(sleep.Warning(policyOf(current).DeleteAfterIdle.Duration)/48, 30*time.Second))
	return min(look, until(current.deletion.LookAgain, current.now)), nil
}

// isUsed tells whether somebody uses the space although it sleeps. Virtual clusters are read anew: a connection that has just come in for
// one of them changes that one and not the space, so that no precondition of the deletion would see it.
func (r *Reconciler) isUsed(ctx context.Context, current *spaceNow) (bool, error) {
	var pods corev1.PodList
	if err := r.host.List(ctx, &pods, client.InNamespace(current.space.Name)); err != nil {
		return false, fmt.Errorf("list the pods of space %q: %w", current.space.Name, err)
	}
	for index := range pods.Items {
		if phase := pods.Items[index].Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return true, nil
		}
	}
	var clusters clusterv1alpha1.VirtualClusterList
	if err := r.host.List(ctx, &clusters, client.InNamespace(current.space.Name)); err != nil {
		return false, fmt.Errorf("list the virtual clusters of space %q: %w", current.space.Name, err)
	}
	current.clusters = clusters.Items
	_, activity := r.told(current)
	return activity.After(current.space.Status.Sleep.Since.Time) || len(runningClusters(current)) > 0, nil
}

// runs tells whether a workload runs although its space sleeps, such as one that is excluded.
func (w workload) runs() bool {
	if w.object.GetDeletionTimestamp() != nil {
		return false
	}
	if w.replicas == nil {
		return !w.isSuspended
	}
	return *w.replicas > 0
}

// runningClusters are virtual clusters that run although the space sleeps: what they hold is in use.
func runningClusters(current *spaceNow) []string {
	var running []string
	for index := range current.clusters {
		if vc := &current.clusters[index]; !vc.Status.Sleep.IsAsleep() {
			running = append(running, vc.Name)
		}
	}
	return running
}

func deletionCondition(current *spaceNow) *metav1.Condition {
	policy, space := policyOf(current), current.space
	if policy == nil || policy.DeleteAfterIdle == nil {
		return nil
	}
	condition := &metav1.Condition{
		Type: tenancyv1alpha1.ConditionDeletionDue, Status: metav1.ConditionFalse, Reason: reasonNotDue, Message: "Nothing is about to delete it",
	}
	if current.deletion.At.IsZero() {
		return condition
	}
	condition.Message = "It will be deleted at " + current.deletion.At.Format(time.RFC3339) + " if it sleeps until then"
	if current.deletion.Warned {
		condition.Status, condition.Reason = metav1.ConditionTrue, tenancyv1alpha1.ReasonIdle
		condition.Message = fmt.Sprintf("It has slept since %s and will be deleted with all it holds at %s; use it, or put it off with: matry snooze space %s",
			space.Status.Sleep.Since.Format(time.RFC3339), current.deletion.At.Format(time.RFC3339), space.Name)
	}
	return condition
}

// delete deletes exactly what was looked at: whoever has used it meanwhile has changed it.
func (r *Reconciler) delete(ctx context.Context, space *tenancyv1alpha1.Space) error {
	r.log.Info("Deleting a space that has slept for too long", "space", space.Name, "since", space.Status.Sleep.Since.Time,
		"warnedSeconds", space.Status.Sleep.WarnedSeconds)
	r.tell(ctx, space, corev1.EventTypeWarning, "DeletedForIdleness", "Nobody has used it since "+space.Status.Sleep.Since.Format(time.RFC3339))
	err := r.host.Delete(ctx, space, client.Preconditions{UID: &space.UID, ResourceVersion: &space.ResourceVersion})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete a space that has slept for too long: %w", err)
	}
	return nil
}

// tell writes an event into the space. That it fails is no reason to do anything else.
func (r *Reconciler) tell(ctx context.Context, space *tenancyv1alpha1.Space, eventType, reason, message string) {
	if err := notice.Tell(ctx, r.host, space, space.Name, eventType, reason, message); err != nil {
		r.log.Warn("Could not tell the owner of a space", "space", space.Name, "reason", reason, "error", err.Error())
	}
}
