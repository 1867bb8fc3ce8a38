package shards

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ErrLost is why the context of work ends that Enter began.
var ErrLost = errors.New("the virtual cluster is not this replica's any more")

// holdings are the shards that this replica serves now. They end by the clock, whatever the rest of the package is waiting
// for. It is safe for concurrent use.
type holdings struct {
	// fenced is called after the time was over.
	fenced func(lost int)
	// changed receives a value after work has ended on a shard that is being left, and after the time was over.
	changed chan struct{}

	mu sync.Mutex
	// The following are protected by mu.
	until   time.Time // the Lease counts as renewed until then
	timer   *time.Timer
	session int // of unbroken renewal
	held    map[int]*holding
	// terms are the times in which shards have been this replica's: of those that are held, and of those that were when the session
	// ended and may be so again.
	terms    map[int]int64
	lastTerm int64
	entered  [Count]int // how much work there is, of earlier sessions too
	follow   []func(isGained func(types.UID) bool)
	isEnded  bool
}

type holding struct {
	lost      context.Context
	lose      context.CancelFunc
	isLeaving bool
}

func newHoldings(fenced func(lost int)) *holdings {
	h := &holdings{fenced: fenced, changed: make(chan struct{}, 1), held: map[int]*holding{}, terms: map[int]int64{}}
	h.timer = time.AfterFunc(time.Hour, h.checkTime)
	h.timer.Stop()
	return h
}

// Enter implements Shares.
func (h *holdings) Enter(ctx context.Context, virtualCluster types.UID) (work context.Context, leave func(), ok bool) {
	shard := Of(virtualCluster)
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.held[shard]
	if !ok || held.isLeaving || !h.isValid() {
		return nil, nil, false
	}
	h.entered[shard]++
	work, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(held.lost, func() { cancel(ErrLost) })
	return work, sync.OnceFunc(func() {
		stop()
		cancel(nil)
		h.leave(shard)
	}), true
}

func (h *holdings) leave(shard int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entered[shard]--
	if h.entered[shard] == 0 {
		h.signal()
	}
}

// Term implements Shares.
func (h *holdings) Term(virtualCluster types.UID) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.terms[Of(virtualCluster)]
}

// Follow implements Shares.
func (h *holdings) Follow(gained func(isGained func(types.UID) bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.follow = append(h.follow, gained)
}

// isValid must be called with mu held.
func (h *holdings) isValid() bool { return !h.isEnded && time.Now().Before(h.until) }

// signal must be called with mu held.
func (h *holdings) signal() {
	select {
	case h.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// validity tells in which session of unbroken renewal this is; ok is false if it is in none.
func (h *holdings) validity() (session int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.session, h.isValid()
}

// renewed says that the Lease was renewed by a call that was sent then.
func (h *holdings) renewed(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.isEnded {
		return
	}
	if !h.isValid() {
		h.drop() // the answer came later than the end, and the timer will come later still
	}
	if until := sent.Add(fenceAfter); until.After(h.until) {
		h.until = until
		h.timer.Reset(time.Until(until))
	}
	h.signal()
}

func (h *holdings) checkTime() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isValid() {
		h.drop()
		h.signal()
	}
}

// fence ends everything at once: the Lease is not this replica's as it was.
func (h *holdings) fence() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop()
}

// drop ends the session. It must be called with mu held.
func (h *holdings) drop() {
	lost := len(h.held)
	for shard, held := range h.held {
		held.lose()
		delete(h.held, shard)
	}
	if h.isEnded {
		clear(h.terms)
	}
	h.session++
	h.until = time.Time{}
	if lost > 0 && !h.isEnded && h.fenced != nil {
		h.fenced(lost)
	}
}

// take begins to hold shards, if the session still lasts in which the table was written. It returns those that are new.
func (h *holdings) take(session int, shards []int) (taken []int) {
	haveEnded := false
	h.mu.Lock()
	if session == h.session && h.isValid() {
		for _, shard := range shards {
			if h.held[shard] == nil {
				lost, lose := context.WithCancel(context.Background())
				h.held[shard] = &holding{lost: lost, lose: lose}
				taken = append(taken, shard)
			}
			if h.terms[shard] == 0 {
				h.lastTerm++
				h.terms[shard] = h.lastTerm
			}
		}
		haveEnded = h.endTerms(shards)
	}
	h.mu.Unlock()
	if len(taken) > 0 || haveEnded {
		h.tell(taken)
	}
	return taken
}

// tell calls the followers. It must be called without mu.
func (h *holdings) tell(taken []int) {
	h.mu.Lock()
	follow := slices.Clone(h.follow)
	h.mu.Unlock()
	for _, gained := range follow {
		gained(func(virtualCluster types.UID) bool { return slices.Contains(taken, Of(virtualCluster)) })
	}
}

// stillOwn says which shards are this replica's by the table. What it does not hold and is not in there, somebody else has had.
// Only this replica itself writes its name to a shard, so what is in there after the replica was cut off has been its own all the time.
func (h *holdings) stillOwn(shards []int) {
	h.mu.Lock()
	haveEnded := h.endTerms(shards)
	h.mu.Unlock()
	if haveEnded {
		h.tell(nil)
	}
}

// endTerms ends the terms of all other shards that are not held, and tells whether there were any. It must be called with mu held.
func (h *holdings) endTerms(others []int) (haveEnded bool) {
	for shard := range h.terms {
		if h.held[shard] == nil && !slices.Contains(others, shard) {
			delete(h.terms, shard)
			haveEnded = true
		}
	}
	return haveEnded
}

// let ends the work on shards; they are held until forgotten.
func (h *holdings) let(shards []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, shard := range shards {
		if held := h.held[shard]; held != nil && !held.isLeaving {
			held.isLeaving = true
			held.lose()
			delete(h.terms, shard)
			h.signal() // there may be no work on it
		}
	}
}

// forget ends the holding of shards.
func (h *holdings) forget(shards []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, shard := range shards {
		if held := h.held[shard]; held != nil {
			held.lose()
			delete(h.held, shard)
			delete(h.terms, shard)
		}
	}
}

// state lists the shards. Serving are those that can be entered, the busiest first; left are those that are being left, on which no work is
// done any more, and leaving those on which some is.
func (h *holdings) state() (serving, leaving, left []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for shard, held := range h.held {
		switch {
		case !held.isLeaving:
			serving = append(serving, shard)
		case h.entered[shard] > 0:
			leaving = append(leaving, shard)
		default:
			left = append(left, shard)
		}
	}
	slices.SortFunc(serving, func(a, b int) int {
		return cmp.Or(cmp.Compare(h.entered[b], h.entered[a]), cmp.Compare(a, b))
	})
	return serving, leaving, left
}

// count is the number of shards that are served.
func (h *holdings) count() int {
	serving, _, _ := h.state()
	return len(serving)
}

// end ends all work for good.
func (h *holdings) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isEnded = true
	h.drop()
	h.timer.Stop()
	h.signal()
}

// isQuiet tells whether no work is done.
func (h *holdings) isQuiet() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entered == [Count]int{}
}
