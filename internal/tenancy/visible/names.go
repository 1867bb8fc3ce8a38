package visible

import (
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// The resources that are shown by name.
const (
	Accounts = "accounts"
	Spaces   = "spaces"
)

// The verbs by which they are somebody's.
const (
	// VerbUse is the right to make spaces and virtual clusters in an account.
	VerbUse = "use"
	// VerbGet is the right to read an object.
	VerbGet = "get"
)

// Names are the names that somebody may do something with. The zero value is none.
type Names struct {
	all   bool
	names map[string]struct{}
}

// AllNames are all names there are.
func AllNames() Names { return Names{all: true} }

// These are the given names.
func These(names ...string) Names {
	result := Names{names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		result.names[name] = struct{}{}
	}
	return result
}

// All tells whether every name is among them, those that come later too.
func (n Names) All() bool { return n.all }

// Has tells whether the name is among them.
func (n Names) Has(name string) bool {
	_, found := n.names[name]
	return n.all || found
}

// Sorted lists the names. It is empty when they are all.
func (n Names) Sorted() []string {
	if n.all {
		return nil
	}
	sorted := make([]string, 0, len(n.names))
	for name := range n.names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// Or are the names of both.
func (n Names) Or(others Names) Names {
	if n.all || others.all {
		return AllNames()
	}
	return These(append(n.Sorted(), others.Sorted()...)...)
}

// FromRules are the names of a resource of the tenancy API for which the rules hold the verb. The rules must be those for
// objects that are in no namespace.
func FromRules(rules []authorizationv1.ResourceRule, resource, verb string) Names {
	var names []string
	for _, rule := range rules {
		if !holds(rule.Verbs, verb) || !holds(rule.APIGroups, tenancyv1alpha1.GroupVersion.Group) || !holds(rule.Resources, resource) {
			continue
		}
		// A rule without names is for all of them. An empty name among others is none.
		if len(rule.ResourceNames) == 0 {
			return AllNames()
		}
		names = append(names, rule.ResourceNames...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	return These(names...)
}

func holds(list []string, value string) bool {
	return slices.Contains(list, value) || slices.Contains(list, "*")
}

// Filter keeps the items whose names are among the names, in their order.
func Filter[T any](names Names, items []T, nameOf func(*T) string) []T {
	kept := make([]T, 0, len(items))
	for i := range items {
		if names.Has(nameOf(&items[i])) {
			kept = append(kept, items[i])
		}
	}
	return kept
}
