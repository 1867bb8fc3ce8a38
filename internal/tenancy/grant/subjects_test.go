package grant_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
)

var (
	alice = rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "alice"}
	group = rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "alice"}
	robot = rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "ci", Name: "alice"}
)

func TestAllowed(t *testing.T) {
	account := &tenancyv1alpha1.Account{Spec: tenancyv1alpha1.AccountSpec{Subjects: []rbacv1.Subject{
		{Kind: rbacv1.UserKind, Name: "alice"}, alice, group, robot,
	}}}
	suspended, ending := account.DeepCopy(), account.DeepCopy()
	suspended.Spec.Suspended = true
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	cases := map[string]struct {
		account *tenancyv1alpha1.Account
		want    []rbacv1.Subject
	}{
		"EachOnce":  {account, []rbacv1.Subject{alice, group, robot}},
		"None":      {nil, nil},
		"Suspended": {suspended, nil},
		"Ending":    {ending, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, grant.Allowed(tc.account)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	otherRobot := robot
	otherRobot.Namespace = "other"
	cases := map[string]struct {
		present, allowed, want []rbacv1.Subject
		isAll, isSame          bool
	}{
		"All":            {present: []rbacv1.Subject{group, alice}, allowed: []rbacv1.Subject{alice, group}, want: []rbacv1.Subject{group, alice}, isAll: true, isSame: true},
		"OneTooMuch":     {present: []rbacv1.Subject{alice, robot}, allowed: []rbacv1.Subject{alice}, want: []rbacv1.Subject{alice}},
		"OneMissing":     {present: []rbacv1.Subject{alice}, allowed: []rbacv1.Subject{alice, robot}, want: []rbacv1.Subject{alice}, isAll: true},
		"SameName":       {present: []rbacv1.Subject{group}, allowed: []rbacv1.Subject{alice, robot}},
		"OtherNamespace": {present: []rbacv1.Subject{otherRobot}, allowed: []rbacv1.Subject{robot}},
		"Nobody":         {isAll: true, isSame: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kept, isAll := grant.Keep(tc.present, tc.allowed)
			if diff := cmp.Diff(tc.want, kept); diff != "" || isAll != tc.isAll {
				t.Errorf("all: %t, want %t %s", isAll, tc.isAll, diff)
			}
			if got := grant.IsSame(tc.present, tc.allowed); got != tc.isSame {
				t.Errorf("IsSame is %t", got)
			}
		})
	}
}
