package engine

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// turn is a part of a term in which the replica can work: while it is cut off from the host's API server, others may be about to take
// over. What is only read goes on.
type turn struct {
	// serving ends with the turn; work on the tenant's keys must then end, wherever it comes from.
	serving context.Context
	// leave lets another replica have the tenant.
	leave func()
}

func (r *tenantRun) serving() context.Context { return r.turn.Load().serving }

// afterTurn is how long a key waits that came when the turn was over. The queue is held soon, until the next one.
const afterTurn = time.Second

// takeTurn begins another turn if it can, and otherwise leaves the last one; the shards tell when it can, or when the term has ended. It
// returns false if that has.
func (e *Engine) takeTurn(run *tenantRun) bool {
	e.queue.pause(run.uid)
	run.turn.Load().leave()
	work, leave, ok := e.options.Shards.Enter(run.living, run.uid)
	if !e.isKept(run.uid) {
		if ok {
			leave()
		}
		return false
	}
	if !ok {
		return true
	}
	run.turn.Store(&turn{serving: work, leave: leave})
	context.AfterFunc(work, e.rematch)
	run.holdQueue()
	e.log.Info("Serving virtual cluster again", "vcluster", run.name())
	return true
}

// isKept tells whether a tenant is served, or was when the replica was cut off and may be again.
func (e *Engine) isKept(uid types.UID) bool {
	run, ok := e.tenantRun(uid)
	return ok && run.term != 0 && run.term == e.options.Shards.Term(uid)
}

// holdQueue lets the tenant's keys go if they can be worked on.
func (r *tenantRun) holdQueue() {
	r.holding.Lock() // so that the last one has looked last
	defer r.holding.Unlock()
	r.engine.queue.hold(r.uid, !r.synced.Load() || !r.tenant.Load().Ready || r.serving().Err() != nil)
}
