package shards

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// Shares is what those who serve virtual clusters need to know: which are theirs.
type Shares interface {
	// Enter begins work for a virtual cluster; ok is false if it is not this replica's now. The returned context is ctx,
	// but it also ends when the shard is lost; the work must end then. leave must be called when it has ended: until
	// then no other replica is given the shard, unless this one is cut off from the API server.
	Enter(ctx context.Context, virtualCluster types.UID) (work context.Context, leave func(), ok bool)
	// Term tells since when a virtual cluster has been this replica's without anybody else having had it: a number that no other
	// such time has. It goes on while the replica is cut off from the API server, when Enter refuses, as long as it is not
	// known that somebody else has taken it. 0 means that it is not this replica's.
	Term(virtualCluster types.UID) int64
	// Follow makes gained be called whenever shards were gained, after they can be entered, and whenever terms have ended while the
	// replica was cut off. isGained tells whether a virtual cluster is in a shard that was gained. It must return soon, and may be
	// called at once.
	Follow(gained func(isGained func(virtualCluster types.UID) bool))
}

// All is for a part that runs alone: everything is its own.
func All() Shares { return all{} }

type all struct{}

// Enter implements Shares.
func (all) Enter(ctx context.Context, _ types.UID) (context.Context, func(), bool) {
	return ctx, func() {}, true
}

// Term implements Shares.
func (all) Term(types.UID) int64 { return 1 }

// Follow implements Shares. Nothing is ever gained: it was there from the beginning.
func (all) Follow(func(func(types.UID) bool)) {}
