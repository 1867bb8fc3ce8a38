package controlplane

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// How far the heap may grow between two garbage collections, in per cent of what lives.
const (
	// An idle control plane allocates so little that it collects about once in two minutes even so.
	idleGCPercent = 25
	// The runtime's default: a control plane that works must not spend its time on collecting.
	busyGCPercent = 100
)

const (
	collectionInterval = 15 * time.Second
	// busyCollections in one interval make a control plane a busy one.
	busyCollections = 4
)

// collectGarbage trades CPU for memory, by what the control plane does just now, until the function that it returns is
// called. It sets what is process-wide, and nothing if GOGC is set: then the operator has decided.
func collectGarbage(ctx context.Context, ready <-chan struct{}) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	// From the beginning: a start that collects rarely leaves its long-lived objects scattered over more pages, which costs
	// 16 MiB for good.
	debug.SetGCPercent(idleGCPercent)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case <-ctx.Done():
		case <-ready:
			newCollection().run(ctx)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// collection is the state of the trade.
type collection struct {
	percent int
	cycles  uint64
}

// newCollection begins with an idle control plane, and hands the garbage of its start back to the machine.
func newCollection() *collection {
	debug.FreeOSMemory()
	return &collection{percent: idleGCPercent, cycles: collectionCycles()}
}

// run adapts until the context ends.
func (c *collection) run(ctx context.Context) {
	ticker := time.NewTicker(collectionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.adapt(collectionCycles())
		}
	}
}

// adapt is given the number of collections since the start of the process.
func (c *collection) adapt(cycles uint64) {
	done := cycles - c.cycles
	c.cycles = cycles
	next := nextGCPercent(c.percent, done)
	if next == c.percent {
		return
	}
	c.percent = next
	debug.SetGCPercent(next)
	if next == idleGCPercent {
		// What the work before took goes back to the machine.
		debug.FreeOSMemory()
		c.cycles = collectionCycles()
	}
}

// nextGCPercent follows from the collections of one interval. With the higher percentage they are about a quarter as
// many for the same work, so that only a quiet interval ends it.
func nextGCPercent(percent int, collections uint64) int {
	switch {
	case percent == idleGCPercent && collections >= busyCollections:
		return busyGCPercent
	case percent == busyGCPercent && collections == 0:
		return idleGCPercent
	default:
		return percent
	}
}

func collectionCycles() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
