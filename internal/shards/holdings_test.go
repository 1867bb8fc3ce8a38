package shards

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const shop = types.UID("shop")

func TestWorkEndsWithTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost := 0
		h := newHoldings(func(shards int) { lost = shards })
		if _, _, ok := h.Enter(t.Context(), shop); ok {
			t.Error("entered before anything was held")
		}
		h.renewed(time.Now())
		session, _ := h.validity()
		h.take(session, []int{Of(shop), (Of(shop) + 1) % Count})
		work, leave, ok := h.Enter(t.Context(), shop)
		if !ok {
			t.Fatal("cannot enter a shard that is held")
		}
		begin := time.Now()
		<-work.Done()
		if took := time.Since(begin); took != fenceAfter || lost != 2 || !errors.Is(context.Cause(work), ErrLost) {
			t.Errorf("after %s work ended of %d shards, with %v", took, lost, context.Cause(work))
		}
		if h.isQuiet() {
			t.Error("work that has not left does not count")
		}
		leave()
		leave()
		if !h.isQuiet() {
			t.Error("work that has left counts")
		}
	})
}

// TestTakeNeedsUnbrokenRenewal: what was written before a break may have been taken by others during it.
func TestTakeNeedsUnbrokenRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHoldings(nil)
		h.renewed(time.Now())
		session, _ := h.validity()
		pass(fenceAfter)
		h.renewed(time.Now())
		if taken := h.take(session, []int{1}); len(taken) > 0 || h.count() > 0 {
			t.Errorf("took %v, by a write of before the break", taken)
		}
		// Before the timer had its turn, too.
		session, _ = h.validity()
		h.mu.Lock()
		h.until = time.Now()
		h.mu.Unlock()
		h.renewed(time.Now().Add(time.Second))
		if taken := h.take(session, []int{1}); len(taken) > 0 {
			t.Errorf("took %v, by a write of before the break that nobody noticed", taken)
		}
		h.renewed(time.Now().Add(-fenceAfter)) // an answer that comes too late
		if session, ok := h.validity(); ok && len(h.take(session, []int{1})) != 1 {
			t.Error("a late answer shortened the time")
		}
		h.end()
	})
}

func TestFollowHearsOfWhatCanBeEntered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHoldings(nil)
		var heard []bool
		h.Follow(func(isGained func(types.UID) bool) {
			_, leave, ok := h.Enter(t.Context(), shop)
			if ok {
				defer leave()
			}
			heard = append(heard, ok, isGained(shop))
		})
		h.renewed(time.Now())
		session, _ := h.validity()
		other := (Of(shop) + 1) % Count
		h.take(session, []int{other})
		h.take(session, []int{other})
		h.take(session, []int{Of(shop), other})
		if want := []bool{false, false, true, true}; !slices.Equal(heard, want) {
			t.Errorf("heard %v, want %v", heard, want)
		}
		h.end()
	})
}

func TestLeavingWaitsForWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHoldings(nil)
		h.renewed(time.Now())
		session, _ := h.validity()
		mine := Of(shop)
		h.take(session, []int{mine})
		work, leave, _ := h.Enter(t.Context(), shop)
		h.let([]int{mine})
		<-work.Done()
		if _, _, ok := h.Enter(t.Context(), shop); ok {
			t.Error("entered a shard that is being left")
		}
		if _, leaving, left := h.state(); len(leaving) != 1 || len(left) != 0 {
			t.Errorf("leaving %v, left %v while work goes on", leaving, left)
		}
		leave()
		if _, leaving, left := h.state(); len(leaving) != 0 || len(left) != 1 {
			t.Errorf("leaving %v, left %v after work has ended", leaving, left)
		}
		h.end()
	})
}

// afterTime is when the time is certainly over of a Lease that is not renewed.
const afterTime = fenceAfter + time.Millisecond

// TestTerm: a term lasts as long as nobody else can have had the shard.
func TestTerm(t *testing.T) {
	t.Parallel()
	shard, other := Of(shop), (Of(shop)+1)%Count
	for name, tc := range map[string]struct {
		happen func(h *holdings)
		isOver bool // until the replica takes the shard again
		isTold bool // otherwise the end of the work tells
	}{
		"CutOff":            {func(h *holdings) { pass(afterTime) }, false, false},
		"CutOffTwice":       {func(h *holdings) { pass(afterTime); h.renewed(time.Now()); pass(afterTime) }, false, false},
		"StillItsOwn":       {func(h *holdings) { pass(afterTime); h.stillOwn([]int{shard, other}) }, false, false},
		"TakenByOthers":     {func(h *holdings) { pass(afterTime); h.stillOwn([]int{other}) }, true, true},
		"OthersInTheTable":  {func(h *holdings) { h.stillOwn(nil) }, false, false}, // the table is behind; what is held is held
		"GivenUp":           {func(h *holdings) { h.let([]int{shard}); h.forget([]int{shard}) }, true, false},
		"ChangedBySomebody": {func(h *holdings) { h.forget([]int{shard}) }, true, false},
		"CutOffAsItLeaves":  {func(h *holdings) { h.let([]int{shard}); pass(afterTime) }, true, false},
		"OnlyOthersTaken": {func(h *holdings) {
			pass(afterTime)
			h.renewed(time.Now())
			session, _ := h.validity()
			h.take(session, []int{other})
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHoldings(nil)
				told := 0
				h.Follow(func(func(types.UID) bool) { told++ })
				if h.Term(shop) != 0 {
					t.Error("there is a term of what was never held")
				}
				take := func() int64 {
					h.renewed(time.Now())
					session, _ := h.validity()
					h.take(session, []int{shard, other})
					return h.Term(shop)
				}
				first := take()
				told = 0
				tc.happen(h)
				if isTold := told > 0; isTold != tc.isTold {
					t.Errorf("those who follow are told: %t, want %t", isTold, tc.isTold)
				}
				if isOver := h.Term(shop) != first; isOver != tc.isOver {
					t.Errorf("the term is over: %t, want %t", isOver, tc.isOver)
				}
				if isNew := take() != first; isNew != tc.isOver || h.Term(shop) == 0 {
					t.Errorf("the next term is another one: %t, want %t", isNew, tc.isOver)
				}
				h.end()
				if h.Term(shop) != 0 {
					t.Error("the term goes on after the end")
				}
			})
		})
	}
}
