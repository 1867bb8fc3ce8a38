package access

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// holds tells whether a rule allows what is asked, as the API server's own authorizer reads it.
func (q *Question) holds(rule *rbacv1.PolicyRule) bool {
	if !slices.Contains(rule.Verbs, q.Verb) && !slices.Contains(rule.Verbs, rbacv1.VerbAll) {
		return false
	}
	if q.Path != "" {
		return slices.ContainsFunc(rule.NonResourceURLs, q.isAtPath)
	}
	if !slices.Contains(rule.APIGroups, q.Group) && !slices.Contains(rule.APIGroups, rbacv1.APIGroupAll) {
		return false
	}
	if !q.isOfResources(rule.Resources) {
		return false
	}
	return len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, q.Name)
}

func (q *Question) isOfResources(resources []string) bool {
	return slices.ContainsFunc(resources, func(resource string) bool {
		return resource == rbacv1.ResourceAll || resource == q.combined() || (q.Subresource != "" && resource == "*/"+q.Subresource)
	})
}

func (q *Question) isAtPath(url string) bool {
	if url == rbacv1.NonResourceAll || url == q.Path {
		return true
	}
	prefix, isPrefix := strings.CutSuffix(url, "*")
	return isPrefix && strings.HasPrefix(q.Path, prefix)
}

// matching is the subject of a binding that the user is, directly or by a group. Nil means none.
func (q *Question) matching(subjects []rbacv1.Subject, namespace string) *rbacv1.Subject {
	for i := range subjects {
		subject := &subjects[i]
		switch subject.Kind {
		case rbacv1.UserKind:
			if subject.Name == q.User {
				return subject
			}
		case rbacv1.GroupKind:
			if slices.Contains(q.Groups, subject.Name) {
				return subject
			}
		case rbacv1.ServiceAccountKind:
			in := subject.Namespace
			if in == "" {
				in = namespace
			}
			if in != "" && q.User == serviceAccountPrefix+in+":"+subject.Name {
				return subject
			}
		}
	}
	return nil
}
