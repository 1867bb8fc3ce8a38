package shards

import (
	"slices"
)

// plan is what a replica does next.
type plan struct {
	// foreign are shards that it holds although the table says that they are not its own: somebody has changed it by hand.
	foreign []int
	// let are shards that are more than its share: work on them has to end.
	let []int
	// dead are the replicas that hold something and are gone.
	dead []string
	// next is the table to write, if isChange; mine are this replica's shards in it, and given those that it gives up.
	next     table
	isChange bool
	mine     []int
	given    []int
}

// makePlan decides from what is known of all replicas, and of the own shards: those that are served, the busiest first,
// those that are being left while work is done on them, and those that were left.
func makePlan(me string, seen glance, serving, leaving, left []int) plan {
	written := seen.table.holders[me]
	isMine := func(shard int) bool { return slices.Contains(written, shard) }
	made := plan{next: seen.table}
	for _, shard := range slices.Concat(serving, leaving, left) {
		if !isMine(shard) {
			made.foreign = append(made.foreign, shard)
		}
	}
	for name := range seen.dead {
		if name != me && len(seen.table.holders[name]) > 0 {
			made.dead = append(made.dead, name)
			made.next = made.next.with(name, nil)
		}
	}
	live := seen.live
	if !slices.Contains(live, me) {
		live = append(slices.Clone(live), me)
	}
	share := fairShare(me, live)
	keep := slices.DeleteFunc(slices.Clone(written), func(shard int) bool { return slices.Contains(left, shard) })
	made.given = slices.DeleteFunc(slices.Clone(left), func(shard int) bool { return !isMine(shard) })
	free := made.next.with(me, keep).free()
	taken := free[:min(max(share-len(keep), 0), len(free))]
	made.mine = slices.Concat(keep, taken)
	made.next = made.next.with(me, made.mine)
	// Those that are the replica's own and not held are of an earlier session, or of an earlier process in the same pod.
	unserved := slices.ContainsFunc(keep, func(shard int) bool { return !slices.Contains(serving, shard) && !slices.Contains(leaving, shard) })
	made.isChange = unserved || len(made.dead) > 0 || len(taken) > 0 || len(made.given) > 0
	serving = slices.DeleteFunc(slices.Clone(serving), func(shard int) bool { return !isMine(shard) })
	if excess := len(serving) - share; excess > 0 && !unserved {
		made.let = spread(serving, excess)
	}
	return made
}
