package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep"
)

const reasonNotDue = "NotDue"

// warningLook is how often it is written down for how long a deletion has been warned of.
func warningLook(warning time.Duration) time.Duration {
	return min(10*time.Minute, max(warning/48, 30*time.Second))
}

// reportDeletion warns of the deletion of what has slept for idleness, deletes it when the time has come, and returns when to look
// again.
func (r *Reconciler) reportDeletion(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	isSuspended, err := r.isSuspended(ctx, vc)
	if err != nil {
		return 0, err
	}
	if isSuspended || vc.Spec.Sleep == nil || vc.Spec.Sleep.DeleteAfterIdle == nil {
		r.noteDeletionOver(vc)
		return 0, nil
	}
	known, now, status := r.memory.of(vc.UID), r.options.Clock.Now(), &vc.Status.Sleep
	warnedFor := time.Duration(status.WarnedSeconds) * time.Second
	if !known.warnedAt.IsZero() {
		warnedFor += max(0, now.Sub(known.warnedAt)) // by the clock of the process, which does not jump
	}
	deletion := sleep.Delete(vc.Spec.Sleep, status, warnedFor, now)
	if deletion.At.IsZero() {
		r.noteDeletionOver(vc)
		return 0, nil
	}
	status.DeleteAt = &metav1.Time{Time: deletion.At.Truncate(time.Second)}
	if !deletion.Warned {
		known.warnedAt, status.WarnedSeconds = time.Time{}, 0
		setCondition(vc, tenancyv1alpha1.ConditionDeletionDue, metav1.ConditionFalse, reasonNotDue,
			"It will be deleted at "+deletion.At.Format(time.RFC3339)+" if it sleeps until then")
		return until(deletion.LookAgain, now), nil
	}
	message := fmt.Sprintf("It has slept since %s and will be deleted with all it holds at %s; connect to it, or put it off with: matry snooze virtualcluster %s -n %s",
		status.Since.Format(time.RFC3339), deletion.At.Format(time.RFC3339), vc.Name, vc.Namespace)
	wasTold := apimeta.IsStatusConditionTrue(vc.Status.Conditions, tenancyv1alpha1.ConditionDeletionDue)
	setCondition(vc, tenancyv1alpha1.ConditionDeletionDue, metav1.ConditionTrue, tenancyv1alpha1.ReasonIdle, message)
	if !wasTold {
		r.tell(ctx, vc, corev1.EventTypeWarning, tenancyv1alpha1.ConditionDeletionDue, message)
	}
	if deletion.Due && wasTold {
		return time.Second, r.deleteIdle(ctx, vc)
	}
	look := warningLook(sleep.Warning(vc.Spec.Sleep.DeleteAfterIdle.Duration))
	if whole := warnedFor.Truncate(time.Second); known.warnedAt.IsZero() || whole-time.Duration(status.WarnedSeconds)*time.Second >= look/2 || deletion.Due {
		status.WarnedSeconds = int64(whole / time.Second)
		known.warnedAt = now.Add(whole - warnedFor)
	}
	return min(look, until(deletion.LookAgain, now)), nil
}

// noteDeletionOver forgets that a deletion was warned of.
func (r *Reconciler) noteDeletionOver(vc *clusterv1alpha1.VirtualCluster) {
	r.memory.of(vc.UID).warnedAt = time.Time{}
	vc.Status.Sleep.DeleteAt, vc.Status.Sleep.WarnedSeconds = nil, 0
	if vc.Spec.Sleep == nil || vc.Spec.Sleep.DeleteAfterIdle == nil {
		apimeta.RemoveStatusCondition(&vc.Status.Conditions, tenancyv1alpha1.ConditionDeletionDue)
		return
	}
	setCondition(vc, tenancyv1alpha1.ConditionDeletionDue, metav1.ConditionFalse, reasonNotDue, "Nothing is about to delete it")
}

// deleteIdle deletes exactly what was looked at: whoever has asked for it meanwhile has changed it.
func (r *Reconciler) deleteIdle(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	r.log.Info("Deleting a virtual cluster that has slept for too long", "namespace", vc.Namespace, "name", vc.Name,
		"since", vc.Status.Sleep.Since.Time, "warnedSeconds", vc.Status.Sleep.WarnedSeconds)
	r.tell(ctx, vc, corev1.EventTypeWarning, "DeletedForIdleness", "Nobody has used it since "+vc.Status.Sleep.Since.Format(time.RFC3339))
	err := r.host.Delete(ctx, vc, client.Preconditions{UID: &vc.UID, ResourceVersion: &vc.ResourceVersion})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete a virtual cluster that has slept for too long: %w", err)
	}
	return nil
}
