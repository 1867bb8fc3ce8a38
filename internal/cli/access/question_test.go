package access

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

func TestGroupsThatComeWithAUser(t *testing.T) {
	for user, want := range map[string][]string{
		"anna":                            {"devs", "system:authenticated"},
		"system:serviceaccount:web:robot": {"devs", "system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated"},
		"system:anonymous":                {"devs", "system:unauthenticated"},
	} {
		if diff := cmp.Diff(want, groupsOf(user, []string{"devs"})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", user, diff)
		}
	}
}

func TestMatchingSubject(t *testing.T) {
	anna := &Question{User: "anna", Groups: []string{"devs"}}
	robot := &Question{User: "system:serviceaccount:web:robot", Groups: groupsOf("system:serviceaccount:web:robot", nil)}
	for name, c := range map[string]struct {
		question  *Question
		subject   rbacv1.Subject
		namespace string
		want      bool
	}{
		"user":                         {anna, rbacv1.Subject{Kind: "User", Name: "anna"}, "", true},
		"another user":                 {anna, rbacv1.Subject{Kind: "User", Name: "ann"}, "", false},
		"group":                        {anna, rbacv1.Subject{Kind: "Group", Name: "devs"}, "", true},
		"a user named as a group":      {anna, rbacv1.Subject{Kind: "User", Name: "devs"}, "", false},
		"service account":              {robot, rbacv1.Subject{Kind: "ServiceAccount", Namespace: "web", Name: "robot"}, "", true},
		"of the binding's namespace":   {robot, rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"}, "web", true},
		"of no namespace":              {robot, rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"}, "", false},
		"of another namespace":         {robot, rbacv1.Subject{Kind: "ServiceAccount", Namespace: "blog", Name: "robot"}, "web", false},
		"all of its namespace":         {robot, rbacv1.Subject{Kind: "Group", Name: "system:serviceaccounts:web"}, "", true},
		"service account by user name": {robot, rbacv1.Subject{Kind: "User", Name: "system:serviceaccount:web:robot"}, "", true},
	} {
		if got := c.question.matching([]rbacv1.Subject{c.subject}, c.namespace) != nil; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
