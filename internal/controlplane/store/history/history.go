// Package history lets many readers follow what is written to a datastore, each at its own pace.
//
// The newest events lie in memory, bounded in number and bytes; who reads slower than that reads from the store, by
// revision, until it has caught up. So there is no queue per reader, nothing is dropped for a slow one, and a fast one costs
// no read of the store. It knows neither SQL nor gRPC. Invariants: events are published in the order of their revisions,
// after they are durable; a page has everything in its range between where it begins and its revision Through; at
// most a few readers read the store at once, each a page of bounded size.
package history

import (
	"context"
	"slices"
	"sync"

	"github.com/k3s-io/kine/pkg/server"
)

const (
	// What is kept in memory; a control plane that does nothing keeps it, too.
	maxEvents = 512
	maxBytes  = 2 << 20
	// Readers of the store at once; the store needs connections for others.
	maxReaders = 2
	// PageBytes bounds a page; one event is always in it.
	PageBytes = 1 << 20
	// PageEvents bounds a page, too.
	PageEvents = 500
)

// Page is a part of the history.
type Page struct {
	// Events in the order of their revisions.
	Events []*server.Event
	// Through is the revision until which nothing is missing.
	Through int64
	// Compacted is the newest revision that is forgotten. Set with server.ErrCompacted.
	Compacted int64
}

// Older reads a page from the store: of keys in [key, end), or of one key where end is empty, or of all where both are,
// after a revision. It returns server.ErrCompacted when some of that is forgotten.
type Older func(ctx context.Context, key, end string, after int64) (Page, error)

// History is what was written last, and a way to what was written before.
type History struct {
	older   Older
	readers chan struct{}

	mu sync.RWMutex
	// recent is sorted; from is the revision after which it is complete.
	recent  []*server.Event
	bytes   int
	from    int64
	current int64
	changed chan struct{}
}

// New returns a history that goes on after the revision current.
func New(current int64, older Older) *History {
	return &History{
		older: older, readers: make(chan struct{}, maxReaders),
		from: current, current: current, changed: make(chan struct{}),
	}
}

// Publish appends events, in the order of their revisions, and wakes who waits. What is not newer than the current revision was
// published before and is left out.
func (h *History) Publish(events []*server.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.current
	for _, event := range events {
		if event.KV.ModRevision <= h.current {
			continue
		}
		h.recent = append(h.recent, event)
		h.bytes += Size(event)
		h.current = event.KV.ModRevision
	}
	if h.current == before {
		return
	}
	h.forget()
	close(h.changed)
	h.changed = make(chan struct{})
}

// forget drops the oldest events that are too many. The slots are cleared: the array behind the slice lives on.
func (h *History) forget() {
	drop := 0
	for len(h.recent)-drop > maxEvents || h.bytes > maxBytes && len(h.recent)-drop > 1 {
		h.bytes -= Size(h.recent[drop])
		h.from = h.recent[drop].KV.ModRevision
		h.recent[drop] = nil
		drop++
	}
	h.recent = h.recent[drop:]
}

// Current is the newest published revision. The channel is closed when there is a newer one.
func (h *History) Current() (int64, <-chan struct{}) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.current, h.changed
}

// Recent returns the events after a revision from memory alone. It is false when they are no longer all there.
func (h *History) Recent(after int64) (Page, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if after < h.from {
		return Page{}, false
	}
	return Page{Events: slices.Clone(h.recent[h.position(after):]), Through: max(after, h.current)}, true
}

// position is that of the first event after a revision.
func (h *History) position(after int64) int {
	at, _ := slices.BinarySearchFunc(h.recent, after+1, func(event *server.Event, revision int64) int {
		return int(event.KV.ModRevision - revision)
	})
	return at
}

// After returns events after a revision in a range of keys, from memory or from the store.
func (h *History) After(ctx context.Context, key, end string, after int64) (Page, error) {
	if page, ok := h.Recent(after); ok {
		page.Events = slices.DeleteFunc(page.Events, func(event *server.Event) bool { return !event.InRange(key, end) })
		return page, nil
	}
	select {
	case h.readers <- struct{}{}:
	case <-ctx.Done():
		return Page{}, ctx.Err()
	}
	defer func() { <-h.readers }()
	return h.older(ctx, key, end, after)
}

// Follow hands over everything in a range after a revision, in order, until the context ends or what comes next is forgotten.
// A receiver that is slow waits for nobody but itself.
func (h *History) Follow(ctx context.Context, key, end string, after int64, receive func(Page) error) error {
	for {
		current, changed := h.Current()
		if after >= current {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		page, err := h.After(ctx, key, end, after)
		if err != nil {
			return err
		}
		after = page.Through
		if len(page.Events) == 0 {
			continue
		}
		if err := receive(page); err != nil {
			return err
		}
	}
}

// Size is what an event takes in memory, nearly.
func Size(event *server.Event) int {
	const overhead = 256
	size := overhead + len(event.KV.Key) + len(event.KV.Value)
	if event.PrevKV != nil {
		size += len(event.PrevKV.Value)
	}
	return size
}
