package visible

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
)

const group = "tenancy.matryoshka.dev"

func rule(verbs, resources string, names ...string) authorizationv1.ResourceRule {
	return authorizationv1.ResourceRule{Verbs: []string{verbs}, APIGroups: []string{group}, Resources: []string{resources}, ResourceNames: names}
}

func TestFromRules(t *testing.T) {
	elsewhere := rule("get", Spaces, "web")
	elsewhere.APIGroups = []string{"tenancy.kiosk.sh"}
	for name, c := range map[string]struct {
		rules []authorizationv1.ResourceRule
		all   bool
		want  []string
	}{
		"nothing":               {rules: nil, want: []string{}},
		"two accounts' rules":   {rules: []authorizationv1.ResourceRule{rule("get", Spaces, "web", "api"), rule("get", Spaces, "blog", "web")}, want: []string{"api", "blog", "web"}},
		"another verb":          {rules: []authorizationv1.ResourceRule{rule("delete", Spaces, "web")}, want: []string{}},
		"another resource":      {rules: []authorizationv1.ResourceRule{rule("get", Accounts, "web")}, want: []string{}},
		"a subresource":         {rules: []authorizationv1.ResourceRule{rule("get", "spaces/status", "web")}, want: []string{}},
		"another group":         {rules: []authorizationv1.ResourceRule{elsewhere}, want: []string{}},
		"stars":                 {rules: []authorizationv1.ResourceRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, ResourceNames: []string{"web"}}}, want: []string{"web"}},
		"everything":            {rules: []authorizationv1.ResourceRule{rule("get", Spaces, "web"), rule("*", "*")}, all: true},
		"only the list":         {rules: []authorizationv1.ResourceRule{rule("list", Spaces)}, want: []string{}},
		"an empty name is none": {rules: []authorizationv1.ResourceRule{rule("get", Spaces, "")}, want: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := FromRules(c.rules, Spaces, VerbGet)
			if got.All() != c.all {
				t.Errorf("all %v, want %v", got.All(), c.all)
			}
			if diff := cmp.Diff(c.want, got.Sorted()); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilterKeepsOrderAndTellsNothingOfOthers(t *testing.T) {
	items := []string{"web", "secret-project", "api"}
	got := Filter(These("api", "web", "gone"), items, func(name *string) string { return *name })
	if diff := cmp.Diff([]string{"web", "api"}, got); diff != "" {
		t.Errorf("filtered (-want +got):\n%s", diff)
	}
	if got := Filter(AllNames(), items, func(name *string) string { return *name }); len(got) != len(items) {
		t.Errorf("an admin sees %v", got)
	}
	if got := Filter(Names{}, items, func(name *string) string { return *name }); len(got) != 0 {
		t.Errorf("nobody sees %v", got)
	}
}

// counting answers reviews from a list and counts them.
type counting struct {
	rules      []authorizationv1.ResourceRule
	incomplete bool
	allowed    []string
	err        error

	rulesAsked, asked int
}

func (c *counting) Rules(context.Context) ([]authorizationv1.ResourceRule, bool, error) {
	c.rulesAsked++
	return c.rules, c.incomplete, c.err
}

func (c *counting) Allowed(_ context.Context, what authorizationv1.ResourceAttributes) (bool, error) {
	c.asked++
	return slices.Contains(c.allowed, what.Name), c.err
}

func TestReviewsAreBounded(t *testing.T) {
	var many []string
	for i := range 5 * MaxReviews {
		many = append(many, string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	for name, c := range map[string]struct {
		reviewer      *counting
		candidates    []string
		asked         int
		want          []string
		all           bool
		unknown       int
		wantRulesOnly bool
	}{
		"complete rules are one review": {reviewer: &counting{rules: []authorizationv1.ResourceRule{rule("get", Spaces, "web")}}, candidates: many, want: []string{"web"}},
		"all of them are one more":      {reviewer: &counting{incomplete: true, allowed: []string{""}}, candidates: many, asked: 1, all: true},
		"incomplete, no candidates":     {reviewer: &counting{incomplete: true, rules: []authorizationv1.ResourceRule{rule("get", Spaces, "web")}}, asked: 1, want: []string{"web"}},
		"what is known is not asked":    {reviewer: &counting{incomplete: true, rules: []authorizationv1.ResourceRule{rule("get", Spaces, "web")}, allowed: []string{"api"}}, candidates: []string{"web", "api", "blog"}, asked: 3, want: []string{"api", "web"}},
		"too many": {
			reviewer: &counting{incomplete: true, allowed: []string{many[0], many[MaxReviews]}}, candidates: many,
			asked: 1 + MaxReviews, want: []string{many[0]}, unknown: 4 * MaxReviews,
		},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Find(t.Context(), c.reviewer, Spaces, VerbGet, c.candidates)
			if err != nil {
				t.Fatal(err)
			}
			if c.reviewer.rulesAsked != 1 || c.reviewer.asked != c.asked {
				t.Errorf("%d reviews of rules and %d of single names, want 1 and %d", c.reviewer.rulesAsked, c.reviewer.asked, c.asked)
			}
			if found.All() != c.all || found.Unknown != c.unknown {
				t.Errorf("all %v, %d unknown; want %v, %d", found.All(), found.Unknown, c.all, c.unknown)
			}
			if diff := cmp.Diff(c.want, found.Sorted()); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

// A review that fails shows nothing, rather than everything.
func TestFailedReviewShowsNothing(t *testing.T) {
	found, err := Find(t.Context(), &counting{err: errors.New("no connection"), allowed: []string{"web"}}, Spaces, VerbGet, []string{"web"})
	if err == nil || found.All() || found.Has("web") {
		t.Errorf("found %v, error %v", found, err)
	}
}
