package access

import (
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// Question is what somebody wants to do.
type Question struct {
	User   string   `json:"user"`
	Groups []string `json:"groups"`
	Verb   string   `json:"verb"`
	// Group, Resource and Subresource are what it is done to.
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	// Name is empty for every object.
	Name string `json:"name,omitempty"`
	// Namespace is empty for all namespaces, and for what is in none.
	Namespace  string `json:"namespace,omitempty"`
	Namespaced bool   `json:"namespaced"`
	// Path is a path of the API server that is no resource; the fields above are then empty.
	Path string `json:"path,omitempty"`
}

// serviceAccountPrefix begins the user names of service accounts.
const serviceAccountPrefix = "system:serviceaccount:"

// groupsOf are the groups that the API server would see: those that are given, and those that come with the user.
func groupsOf(user string, given []string) []string {
	groups := slices.Clone(given)
	if user == "system:anonymous" {
		return append(groups, "system:unauthenticated")
	}
	if rest, is := strings.CutPrefix(user, serviceAccountPrefix); is {
		namespace, _, _ := strings.Cut(rest, ":")
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	}
	if !slices.Contains(groups, "system:authenticated") {
		groups = append(groups, "system:authenticated")
	}
	return groups
}

// combined is the resource with its subresource, as rules name it.
func (q *Question) combined() string {
	if q.Subresource == "" {
		return q.Resource
	}
	return q.Resource + "/" + q.Subresource
}

// what is the question in words: "create pods in namespace "web"".
func (q *Question) what() string {
	if q.Path != "" {
		return q.Verb + " " + q.Path
	}
	text := q.Verb + " " + q.combined()
	if q.Group != "" {
		text += "." + q.Group
	}
	if q.Name != "" {
		text += " " + q.Name
	}
	switch {
	case !q.Namespaced:
		return text
	case q.Namespace == "":
		return text + " in all namespaces"
	}
	return text + " in namespace " + q.Namespace
}

func (q *Question) review() *authorizationv1.SubjectAccessReview {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: q.User, Groups: q.Groups}}
	if q.Path != "" {
		review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: q.Path, Verb: q.Verb}
		return review
	}
	review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: q.Namespace, Verb: q.Verb, Group: q.Group, Version: "*", Resource: q.Resource, Subresource: q.Subresource, Name: q.Name,
	}
	return review
}
