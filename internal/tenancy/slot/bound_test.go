package slot

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBound(t *testing.T) {
	cases := map[string]struct {
		held  []int
		limit int
		want  int
	}{
		"Nothing":           {limit: 3, want: 3},
		"NoneAllowed":       {limit: 0, want: 0},
		"Full":              {held: []int{0, 1, 2}, limit: 3, want: 3},
		"Lowered":           {held: []int{0, 1, 2, 3, 4}, limit: 3, want: 0},
		"LoweredToUsed":     {held: []int{0, 3, 4}, limit: 3, want: 1},
		"LoweredWithRoom":   {held: []int{4}, limit: 3, want: 2},
		"HighInsideOfLimit": {held: []int{2, 4}, limit: 3, want: 1},
		"OnlyHigh":          {held: []int{7, 8, 9}, limit: 3, want: 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := bound(tc.held, tc.limit); got != tc.want {
				t.Errorf("bound(%v, %d) = %d, want %d", tc.held, tc.limit, got, tc.want)
			}
		})
	}
}

// TestClaimsNeverPassTheLimit plays claims by old views, releases and changes of the limit against each other: while a limit
// stays, the number of slots never passes it by a claim.
func TestClaimsNeverPassTheLimit(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		held := map[int]bool{}
		views := [][]int{nil}
		limit := random.IntN(8)
		now := func() []int {
			var all []int
			for index := range held {
				all = append(all, index)
			}
			slices.Sort(all)
			return all
		}
		for step := range 200 {
			switch choice := random.IntN(10); {
			case choice == 0:
				// Whoever claims by a view from before the change is as if he had claimed before it.
				limit, views = random.IntN(8), nil
			case choice < 4 && len(held) > 0:
				delete(held, now()[random.IntN(len(held))])
			case choice < 7 && len(views) > 0:
				bounded := int32(limit)
				before := len(held)
				for _, index := range claimable(views[random.IntN(len(views))], &bounded) {
					if !held[index] {
						held[index] = true
						break
					}
				}
				if len(held) > before && len(held) > limit {
					t.Fatalf("seed %d, step %d: %v are held with a limit of %d", seed, step, now(), limit)
				}
			}
			views = append(views, now())
		}
	}
}

// TestEveryPlaceIsUsed: what the limit leaves can be claimed.
func TestEveryPlaceIsUsed(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		held := random.Perm(12)[:random.IntN(12)]
		limit := int32(random.IntN(12))
		free := claimable(held, &limit)
		if hasRoom := len(held) < int(limit); hasRoom != (len(free) > 0) {
			t.Errorf("%v of %d: %v are free", held, limit, free)
		}
	}
	if free := claimable([]int{0, 1, 5}, nil); len(free) == 0 {
		t.Error("there is no limit, and nothing is free")
	}
}
