// Package grant decides who is named in a binding that the agent makes for an account, in two steps that must not wait for each
// other: what somebody must not have any more is taken away first and always; what is missing is given when everything else
// is in place.
//
// It writes nothing itself.
package grant

import (
	"errors"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

var errBehind = errors.New("the host does not know yet that the account allows this")

// Behind marks the refusal of a binding by the policy that knows the subjects of accounts, and returns other errors as they are.
// That policy learns of a change of an account a moment after the agent has, and of accounts at all a moment after it was
// installed: it is to be tried again, and nobody told.
func Behind(err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return fmt.Errorf("%w: %w", errBehind, err)
	}
	return err
}

// IsBehind tells whether an error is such a refusal.
func IsBehind(err error) bool { return errors.Is(err, errBehind) }

// Allowed are those to whom an account gives something now: nobody if there is none, if it is suspended or about to go.
func Allowed(account *tenancyv1alpha1.Account) []rbacv1.Subject {
	if account == nil || account.Spec.Suspended || !account.DeletionTimestamp.IsZero() {
		return nil
	}
	subjects := make([]rbacv1.Subject, 0, len(account.Spec.Subjects))
	for _, subject := range account.Spec.Subjects {
		if subject = normal(subject); !slices.Contains(subjects, subject) {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// Keep are those of the present subjects who are allowed, and whether these are all of them.
func Keep(present, allowed []rbacv1.Subject) (kept []rbacv1.Subject, isAll bool) {
	for _, subject := range present {
		if slices.Contains(allowed, normal(subject)) {
			kept = append(kept, subject)
		}
	}
	return kept, len(kept) == len(present)
}

// IsSame tells whether two lists name the same, in any order.
func IsSame(present, allowed []rbacv1.Subject) bool {
	_, isAll := Keep(present, allowed)
	return isAll && len(present) == len(allowed)
}

// normal is a subject as the API server stores it in a binding: its kind alone decides about its group.
func normal(subject rbacv1.Subject) rbacv1.Subject {
	if subject.Kind == rbacv1.ServiceAccountKind {
		subject.APIGroup = ""
		return subject
	}
	subject.APIGroup, subject.Namespace = rbacv1.GroupName, ""
	return subject
}
