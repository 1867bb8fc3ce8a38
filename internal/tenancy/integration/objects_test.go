package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

func newAccount(name string, subjects ...rbacv1.Subject) *tenancyv1alpha1.Account {
	return &tenancyv1alpha1.Account{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       tenancyv1alpha1.AccountSpec{Subjects: subjects},
	}
}

func newSpace(name, account string) *tenancyv1alpha1.Space {
	return &tenancyv1alpha1.Space{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       tenancyv1alpha1.SpaceSpec{Account: account},
	}
}

func newConfigMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// createSpace makes a space as somebody, as soon as he may.
func createSpace(t *testing.T, h *tenancytest.Host, somebody client.Client, name, account string) {
	t.Helper()
	h.Eventually(t, "the space "+name+" may be made", func() error { return somebody.Create(t.Context(), newSpace(name, account)) })
}

func getSpace(t *testing.T, h *tenancytest.Host, name string) (*tenancyv1alpha1.Space, error) {
	t.Helper()
	var space tenancyv1alpha1.Space
	err := h.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &space)
	return &space, err
}

func getAccount(t *testing.T, h *tenancytest.Host, name string) *tenancyv1alpha1.Account {
	t.Helper()
	var account tenancyv1alpha1.Account
	if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: name}, &account); err != nil {
		t.Fatal(err)
	}
	return &account
}

// editAccount changes the spec of an account.
func editAccount(t *testing.T, h *tenancytest.Host, name string, change func(*tenancyv1alpha1.AccountSpec)) {
	t.Helper()
	h.Eventually(t, "the account "+name+" is changed", func() error {
		account := getAccount(t, h, name)
		change(&account.Spec)
		return h.Admin.Update(t.Context(), account)
	})
}

// awaitReason waits until the condition Ready has a reason, and returns its message.
func awaitReason(t *testing.T, h *tenancytest.Host, name, reason string) (message string) {
	t.Helper()
	h.Eventually(t, "the space "+name+" is "+reason, func() error {
		space, err := getSpace(t, h, name)
		if err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition == nil || condition.Reason != reason {
			return fmt.Errorf("its condition is %+v", condition)
		}
		message = condition.Message
		return nil
	})
	return message
}

func awaitReady(t *testing.T, h *tenancytest.Host, name string) {
	t.Helper()
	awaitReason(t, h, name, "Ready")
}

// mustBeAbleTo waits until a call is allowed.
func mustBeAbleTo(t *testing.T, h *tenancytest.Host, what string, call func(context.Context) error) {
	t.Helper()
	h.Eventually(t, what, func() error { return call(t.Context()) })
}

// mustNotBeAbleTo waits until a call is forbidden by RBAC.
func mustNotBeAbleTo(t *testing.T, h *tenancytest.Host, what string, call func(context.Context) error) {
	t.Helper()
	h.Eventually(t, "not: "+what, func() error {
		err := call(t.Context())
		if apierrors.IsForbidden(err) {
			return nil
		}
		return fmt.Errorf("got %w, want that it is forbidden", orAllowed(err))
	})
}

// wantRefusal checks that a policy refuses a call with these words.
func wantRefusal(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want a refusal with %q", err, words)
	}
}

func orAllowed(err error) error {
	if err == nil {
		return errAllowed
	}
	return err
}

var errAllowed = fmt.Errorf("allowed")

// makes is a call that somebody may make in a space.
func makes(somebody client.Client, namespace string) func(context.Context) error {
	return func(ctx context.Context) error {
		return somebody.Create(ctx, newConfigMap(namespace, "probe"), client.DryRunAll)
	}
}

// wantRefusalSoon waits until a policy refuses a call with these words.
func wantRefusalSoon(t *testing.T, h *tenancytest.Host, call func(context.Context) error, words string) {
	t.Helper()
	h.Eventually(t, "refused with "+words, func() error {
		err := call(t.Context())
		if err != nil && strings.Contains(err.Error(), words) {
			return nil
		}
		return orAllowed(err)
	})
}
