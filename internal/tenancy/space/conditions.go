package space

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
)

// Reasons of the condition Ready beside those of the API.
const (
	reasonReady        = "Ready"
	reasonTemplates    = "WaitingForTemplates"
	reasonQuota        = "WaitingForQuota"
	reasonHostError    = "HostError"
	reasonTerminating  = "Terminating"
	reasonNameTaken    = "NameTaken"
	reasonMissingRole  = "ClusterRoleNotGranted"
	reasonInvalidRules = "InvalidRules"
)

// verdict is the condition Ready, and after how long the space has to be looked at again.
type verdict struct {
	isReady         bool
	reason, message string
	after           time.Duration
}

// findings are what a round has found out.
type findings struct {
	verdict      verdict
	namespaceUID types.UID
}

func ready() verdict {
	return verdict{isReady: true, reason: reasonReady, message: "The namespace is there and the members of the account may use it"}
}

func waitingForQuota() verdict {
	return verdict{reason: reasonQuota, message: "The namespace is being brought into the quotas of the account; nobody may use it before"}
}

func noAccount(space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) verdict {
	if account != nil {
		return verdict{reason: tenancyv1alpha1.ReasonNoAccount, message: fmt.Sprintf("The account %q is being deleted", account.Name)}
	}
	return verdict{
		reason:  tenancyv1alpha1.ReasonNoAccount,
		message: fmt.Sprintf("There is no account %q; ask an admin of the host cluster to create it, or delete the space", space.Spec.Account),
	}
}

func suspended(account *tenancyv1alpha1.Account) verdict {
	return verdict{
		reason:  tenancyv1alpha1.ReasonSuspended,
		message: fmt.Sprintf("The account %q is suspended; ask an admin of the host cluster", account.Name),
	}
}

func limitReached(account *tenancyv1alpha1.Account, used int) verdict {
	limit := int32(0)
	if account.Spec.Spaces.Limit != nil {
		limit = *account.Spec.Spaces.Limit
	}
	return verdict{
		reason: tenancyv1alpha1.ReasonLimitReached, after: later,
		message: fmt.Sprintf("The account %q has %d of %d spaces; this one is made when another is deleted or the limit is raised", account.Name, used, limit),
	}
}

func waitingForTemplates(space *tenancyv1alpha1.Space) verdict {
	message := "The templates are being applied"
	if condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionTemplatesApplied); condition != nil {
		message = "The templates are not in place: " + condition.Message
	}
	return verdict{reason: reasonTemplates, message: message}
}

func missingRole(account *tenancyv1alpha1.Account) verdict {
	return verdict{
		reason: reasonMissingRole, after: later,
		message: fmt.Sprintf("The agent may not bind the ClusterRole %q, which the account gives in its spaces; an admin of the host cluster grants it with the chart's value spaces.clusterRoles",
			account.Spec.Spaces.ClusterRole),
	}
}

func hostError(err error) verdict {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return verdict{reason: reasonHostError, message: status.Status().Message}
	}
	return verdict{reason: reasonHostError, message: err.Error()}
}

// report writes the status if it has changed.
func (r *Reconciler) report(ctx context.Context, space *tenancyv1alpha1.Space, found findings) error {
	part := report.Part{Fields: map[string]any{}, Conditions: []metav1.Condition{{
		Type: tenancyv1alpha1.ConditionReady, Status: metav1.ConditionFalse,
		Reason: found.verdict.reason, Message: found.verdict.message,
	}}}
	if found.verdict.isReady {
		part.Conditions[0].Status = metav1.ConditionTrue
	}
	if found.namespaceUID != "" {
		part.Fields["namespaceUID"] = found.namespaceUID
	}
	return report.Write(ctx, r.host, space, space.Status.Conditions, fieldManager, part)
}
