package access

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Answer is what the API server says, and why.
type Answer struct {
	Question Question `json:"question"`
	Allowed  bool     `json:"allowed"`
	// Reason is the API server's own.
	Reason string `json:"reason,omitempty"`
	// Grants are the bindings that give it; each of them is enough.
	Grants []Grant `json:"grants,omitempty"`
	// Missing says what would have to be otherwise.
	Missing []string `json:"missing,omitempty"`
	// Notes say what to know beside that.
	Notes []string `json:"notes,omitempty"`
}

// Grant is a binding that gives what is asked.
type Grant struct {
	Binding Binding `json:"binding"`
	// Subject is what the user is in the binding.
	Subject rbacv1.Subject    `json:"subject"`
	Rule    rbacv1.PolicyRule `json:"rule"`
}

// near is a binding that almost gives it.
type near struct {
	binding Binding
	// holds is that the role holds it; then the user is no subject.
	holds bool
	// exists is that there is such a role.
	exists bool
}

// mostNear keeps the answer readable.
const mostNear = 8

// ask asks the API server and explains what it says.
func ask(ctx context.Context, cluster client.Client, question Question) (*Answer, error) {
	review := question.review()
	if err := cluster.Create(ctx, review); err != nil {
		return nil, fmt.Errorf("ask the API server: %w", err)
	}
	answer := &Answer{Question: question, Allowed: review.Status.Allowed, Reason: review.Status.Reason}
	all, err := bindings(ctx, cluster, question.Namespace)
	if err != nil {
		return nil, err
	}
	nears, err := answer.look(ctx, &roles{cluster: cluster, known: map[Ref]*role{}}, all)
	if err != nil {
		return nil, err
	}
	around, err := placeOf(ctx, cluster, &question)
	if err != nil {
		return nil, err
	}
	answer.conclude(nears, around)
	return answer, nil
}

// look looks at all bindings: which give it, and which almost do.
func (a *Answer) look(ctx context.Context, roles *roles, all []Binding) ([]near, error) {
	var nears []near
	for _, binding := range all {
		role, err := roles.get(ctx, binding.Role)
		if err != nil {
			return nil, err
		}
		subject := a.Question.matching(binding.subjects, binding.Namespace)
		rule := slices.IndexFunc(role.rules, func(rule rbacv1.PolicyRule) bool { return a.Question.holds(&rule) })
		switch {
		case subject != nil && rule >= 0:
			a.Grants = append(a.Grants, Grant{Binding: binding, Subject: *subject, Rule: role.rules[rule]})
		case (subject != nil || rule >= 0) && !binding.isDefault:
			nears = append(nears, near{binding: binding, holds: rule >= 0, exists: role.exists})
		}
	}
	return nears, nil
}

// conclude says why.
func (a *Answer) conclude(nears []near, around *place) {
	a.Notes = around.notes(&a.Question)
	switch {
	case a.Allowed && len(a.Grants) == 0:
		a.Notes = append(a.Notes, a.byOtherMeans())
	case a.Allowed:
		// The bindings say it all.
	case len(a.Grants) > 0:
		a.Missing = append(a.Missing, "the bindings above give it, and yet the API server says no: another authorizer of the host cluster denies it")
	default:
		a.Missing = append(around.missing(&a.Question), a.fromNear(nears)...)
		if len(a.Missing) == 0 {
			a.Missing = []string{"no binding names " + a.who() + ", and none gives it to anybody else"}
		}
	}
}

func (a *Answer) byOtherMeans() string {
	if slices.Contains(a.Question.Groups, "system:masters") {
		return "the group system:masters may do everything; no binding is asked"
	}
	return "no binding gives it; another authorizer of the host cluster does"
}

func (a *Answer) who() string {
	return fmt.Sprintf("%q or a group of theirs", a.Question.User)
}

// fromNear are the bindings that almost give it, as sentences.
func (a *Answer) fromNear(nears []near) []string {
	// Those that name the user first: they are what somebody meant to be enough.
	slices.SortStableFunc(nears, func(x, y near) int {
		switch {
		case x.holds == y.holds:
			return 0
		case x.holds:
			return 1
		}
		return -1
	})
	var sentences []string
	for _, n := range nears[:min(len(nears), mostNear)] {
		switch {
		case !n.holds && !n.exists:
			sentences = append(sentences, fmt.Sprintf("%s%s names them, but its role, %s, does not exist", n.binding.Ref, ofAccount(n.binding), n.binding.Role))
		case !n.holds:
			sentences = append(sentences, fmt.Sprintf("%s%s names them, but %s does not hold it", n.binding.Ref, ofAccount(n.binding), n.binding.Role))
		default:
			sentences = append(sentences, fmt.Sprintf("%s%s gives it by %s, but only to %s", n.binding.Ref, ofAccount(n.binding), n.binding.Role, subjectsText(n.binding.subjects)))
		}
	}
	if more := len(nears) - mostNear; more > 0 {
		sentences = append(sentences, fmt.Sprintf("and %d more bindings that name them or give it to others", more))
	}
	return sentences
}

func ofAccount(binding Binding) string {
	if binding.Account == "" {
		return ""
	}
	return " (account " + binding.Account + ")"
}
