package shards

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// TestOfStaysTheSame: replicas of two versions run beside each other while the agent is upgraded.
func TestOfStaysTheSame(t *testing.T) {
	for uid, want := range map[types.UID]int{
		"6f1f2b4e-0000-4000-8000-000000000001": 42,
		"6f1f2b4e-0000-4000-8000-000000000002": 23,
		"c9a5e0a3-6a2e-4f0e-9d5c-3d1f2e4b5a69": 56,
	} {
		if got := Of(uid); got != want {
			t.Errorf("%s belongs to shard %d, not %d", uid, got, want)
		}
	}
}

func TestFairShare(t *testing.T) {
	for count := 1; count <= Count+3; count++ {
		live := make([]string, count)
		for index := range live {
			live[index] = fmt.Sprintf("agent-%d", index)
		}
		total := 0
		for _, name := range live {
			share := fairShare(name, live)
			if share != Count/count && share != Count/count+1 {
				t.Errorf("of %d replicas %s has %d shards", count, name, share)
			}
			total += share
		}
		if total != Count {
			t.Errorf("%d replicas have %d shards together", count, total)
		}
	}
}

func TestSpreadPicksEvenly(t *testing.T) {
	for count := range Count + 1 {
		shards := make([]int, count)
		for index := range shards {
			shards[index] = index
		}
		for pick := range count + 1 {
			picked := spread(shards, pick)
			if len(slices.Compact(slices.Clone(picked))) != pick || !slices.IsSorted(picked) {
				t.Fatalf("%d of %d: %v", pick, count, picked)
			}
			// As much of the busier half as of the other one.
			busy := 0
			for _, shard := range picked {
				if shard < count/2 {
					busy++
				}
			}
			if busy < pick/2-1 || busy > pick/2+1 {
				t.Errorf("%d of %d: %d are of the busier half", pick, count, busy)
			}
		}
	}
}
