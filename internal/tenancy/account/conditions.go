package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// Reasons of conditions beside those of the API.
const (
	reasonReady       = "Ready"
	reasonMade        = "Made"
	reasonSpaceTaken  = "SpaceTaken"
	reasonNameTaken   = "NameTaken"
	reasonHostError   = "HostError"
	reasonTerminating = "Terminating"
	reasonWithin      = "WithinLimits"
	reasonOver        = "OverLimits"
)

// later is when an account is looked at again that waits for something whose end is no event.
const later = 30 * time.Second

// findings are what a round has found out.
type findings struct {
	failure, failureReason string
	// used are the slots that are held; nil if they were not counted.
	used map[slot.Kind]int32
	// initial are the spaces that were made with the account; initialTaken says which cannot be.
	initial      []string
	initialTaken string
	after        time.Duration
}

func rootMessage(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}

// report writes the status if it has changed.
func (r *Reconciler) report(ctx context.Context, account *tenancyv1alpha1.Account, found findings) error {
	used := found.used
	if used == nil {
		used = map[slot.Kind]int32{
			slot.Spaces:                 account.Status.Spaces,
			slot.VirtualClusters:        account.Status.VirtualClusters,
			slot.RunningVirtualClusters: account.Status.RunningVirtualClusters,
		}
	}
	part := report.Part{
		Fields: map[string]any{
			"spaces":                 used[slot.Spaces],
			"virtualClusters":        used[slot.VirtualClusters],
			"runningVirtualClusters": used[slot.RunningVirtualClusters],
		},
		Conditions: []metav1.Condition{readyCondition(account, found), limitsCondition(account, used)},
	}
	if len(found.initial) > 0 {
		part.Fields["initialSpaces"] = found.initial
	}
	if condition, ok := initialCondition(account, found); ok {
		part.Conditions = append(part.Conditions, condition)
	}
	return report.Write(ctx, r.host, account, account.Status.Conditions, fieldManager, part)
}

func readyCondition(account *tenancyv1alpha1.Account, found findings) metav1.Condition {
	condition := metav1.Condition{Type: tenancyv1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	switch {
	case found.failure != "":
		condition.Reason, condition.Message = found.failureReason, found.failure
	case account.Spec.Suspended:
		condition.Reason = tenancyv1alpha1.ReasonSuspended
		condition.Message = "The subjects have no access; everything stays as it is. Set spec.suspended to false to give it back"
	default:
		condition.Status, condition.Reason = metav1.ConditionTrue, reasonReady
		condition.Message = "The subjects may use the account"
	}
	return condition
}

func limitsCondition(account *tenancyv1alpha1.Account, used map[slot.Kind]int32) metav1.Condition {
	limits := []struct {
		what  string
		kind  slot.Kind
		limit *int32
	}{
		{"spaces", slot.Spaces, account.Spec.Spaces.Limit},
		{"virtual clusters", slot.VirtualClusters, account.Spec.VirtualClusters.Limit},
		{"running virtual clusters", slot.RunningVirtualClusters, account.Spec.VirtualClusters.RunningLimit},
	}
	var over []string
	for _, limit := range limits {
		if limit.limit != nil && used[limit.kind] > *limit.limit {
			over = append(over, fmt.Sprintf("%d %s of %d", used[limit.kind], limit.what, *limit.limit))
		}
	}
	condition := metav1.Condition{Type: tenancyv1alpha1.ConditionWithinLimits, Status: metav1.ConditionTrue, Reason: reasonWithin}
	if len(over) > 0 {
		condition.Status, condition.Reason = metav1.ConditionFalse, reasonOver
		condition.Message = "The account has " + strings.Join(over, ", ") + "; nothing is taken away, and nothing is added until there is room"
	}
	return condition
}

func initialCondition(account *tenancyv1alpha1.Account, found findings) (metav1.Condition, bool) {
	condition := metav1.Condition{Type: tenancyv1alpha1.ConditionInitialSpaces, Status: metav1.ConditionTrue, Reason: reasonMade}
	if found.initialTaken != "" {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, reasonSpaceTaken, found.initialTaken
	}
	return condition, len(account.Spec.Spaces.Initial) > 0 && !account.Spec.Suspended
}
