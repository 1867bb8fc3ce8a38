package visible

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// MaxReviews is how many single names are asked about in one call at most.
const MaxReviews = 100

// Reviewer answers for one person.
type Reviewer interface {
	// Rules are what the person may do with objects that are in no namespace. They are incomplete when an authorizer of the
	// cluster cannot list its rules.
	Rules(ctx context.Context) (rules []authorizationv1.ResourceRule, incomplete bool, err error)
	// Allowed tells whether the person may do one thing.
	Allowed(ctx context.Context, what authorizationv1.ResourceAttributes) (bool, error)
}

// Found is what the person may see.
type Found struct {
	Names
	// Unknown are candidates that nobody was asked about, since there are more than MaxReviews.
	Unknown int
}

// Find finds the names of a resource of the tenancy API for which the person has the verb. The candidates are names that exist, as
// far as the caller knows them; they are asked about, one by one, only where the rules are incomplete. Nil is none.
func Find(ctx context.Context, reviewer Reviewer, resource, verb string, candidates []string) (Found, error) {
	rules, incomplete, err := reviewer.Rules(ctx)
	if err != nil {
		return Found{}, fmt.Errorf("review the rules for %s: %w", resource, err)
	}
	found := Found{Names: FromRules(rules, resource, verb)}
	if found.All() || !incomplete {
		return found, nil
	}
	return ask(ctx, reviewer, found, resource, verb, candidates)
}

// ask asks about all names at once and then about the candidates that the rules do not name.
func ask(ctx context.Context, reviewer Reviewer, found Found, resource, verb string, candidates []string) (Found, error) {
	what := authorizationv1.ResourceAttributes{Group: tenancyv1alpha1.GroupVersion.Group, Resource: resource, Verb: verb}
	all, err := reviewer.Allowed(ctx, what)
	if err != nil {
		return Found{}, fmt.Errorf("review %s of all %s: %w", verb, resource, err)
	}
	if all {
		return Found{Names: AllNames()}, nil
	}
	var more []string
	asked := 0
	for _, name := range candidates {
		if found.Has(name) {
			continue
		}
		if asked == MaxReviews {
			found.Unknown++
			continue
		}
		asked++
		what.Name = name
		allowed, err := reviewer.Allowed(ctx, what)
		if err != nil {
			return Found{}, fmt.Errorf("review %s of %s %q: %w", verb, resource, name, err)
		}
		if allowed {
			more = append(more, name)
		}
	}
	found.Names = found.Or(These(more...))
	return found, nil
}
