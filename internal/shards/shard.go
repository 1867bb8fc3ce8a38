package shards

import (
	"hash/fnv"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Count is the number of shards. It is the same for all replicas of all versions: who holds shard 7 of 64 must not meet
// somebody who holds shard 7 of 128.
const Count = 64

// Of is the shard that a virtual cluster belongs to, by the UID of its object.
func Of(virtualCluster types.UID) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(virtualCluster)) // never fails
	return int(hash.Sum32() % Count)
}

// fairShare is how many shards a replica should hold. All replicas together have Count. live contains me.
func fairShare(me string, live []string) int {
	share := Count / len(live)
	if slices.Index(slices.Sorted(slices.Values(live)), me) < Count%len(live) {
		share++
	}
	return share
}

// spread picks evenly among shards that are in the order of their load, so that what is picked and what is left are
// about equally loaded.
func spread(shards []int, pick int) []int {
	picked := make([]int, 0, pick)
	for index := range pick {
		picked = append(picked, shards[(2*index+1)*len(shards)/(2*pick)])
	}
	return picked
}
