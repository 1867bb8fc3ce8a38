package quota

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	lookUp := func(name string) (used, hard amounts, ok bool) {
		return amounts{"pods": 30, "requests.cpu": 2500}, amounts{"pods": 30, "requests.cpu": 3000}, name == "team-a"
	}
	for name, tc := range map[string]struct{ message, want string }{
		"Exceeded": {
			`pods "web" is forbidden: exceeded quota: matryoshka-team-a, requested: pods=1,requests.cpu=750m, used: pods=3,requests.cpu=1, limited: pods=3,requests.cpu=1`,
			`the quota "team-a" of the account has no room for it (pods: asked 1, used 30, hard 30; requests.cpu: asked 750m, used 2500m, hard 3); it begins by itself when there is room`,
		},
		"Unspecified": {
			`pods "web" is forbidden: failed quota: matryoshka-team-a: must specify requests.cpu for: main`,
			`the quota "team-a" of the account bounds what containers ask for, so each one must specify requests.cpu for: main; state it, or have a LimitRange state defaults`,
		},
		"New": {
			`pods "web" is forbidden: status unknown for quota: matryoshka-team-a, resources: pods`,
			`the quota "team-a" of the account is new here; this is tried again in a moment`,
		},
		"OfTheHost": {`pods "web" is forbidden: exceeded quota: ours, requested: pods=1, used: pods=3, limited: pods=3`, ""},
		"Gone":      {`pods "web" is forbidden: exceeded quota: matryoshka-gone, requested: pods=1, used: pods=3, limited: pods=3`, ""},
		"Other":     {`pods "web" is forbidden: violates PodSecurity`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := explain(tc.message, lookUp)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
