package history

import (
	"context"
	"time"

	"github.com/k3s-io/kine/pkg/server"
)

// retryAfter is how long to wait when a backend could not be followed.
const retryAfter = 100 * time.Millisecond

// Watched is a backend with dense revisions that tells what is written to it, but may drop some of it.
type Watched interface {
	CurrentRevision(ctx context.Context) (int64, error)
	Get(ctx context.Context, key string, revision int64, keysOnly bool) (int64, *server.KeyValue, error)
	Watch(ctx context.Context, revision int64) server.WatchResult
}

// Of returns the history of a backend, and a function that keeps it up to date until its context ends.
func Of(ctx context.Context, backend Watched) (*History, func(context.Context), error) {
	current, err := backend.CurrentRevision(ctx)
	if err != nil {
		return nil, nil, err
	}
	h := New(current, func(ctx context.Context, key, end string, after int64) (Page, error) {
		return readAgain(ctx, backend, key, end, after)
	})
	return h, func(ctx context.Context) { h.keepUp(ctx, backend) }, nil
}

func (h *History) keepUp(ctx context.Context, backend Watched) {
	for ctx.Err() == nil {
		before, _ := h.Current()
		h.watch(ctx, backend, before)
		if now, _ := h.Current(); now > before {
			continue
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
		}
	}
}

// watch publishes until the watch ends or something is missing in it; the next one begins where this has ended.
func (h *History) watch(ctx context.Context, backend Watched, current int64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for batch := range backend.Watch(ctx, current+1).Eventc {
		if len(batch.Events) == 0 {
			continue
		}
		if first := batch.Events[0].KV.ModRevision; first > current+1 {
			return
		}
		if err := addPrevious(ctx, backend, batch.Events); err != nil {
			return
		}
		h.Publish(batch.Events)
		current, _ = h.Current()
	}
}

// readAgain takes what a new watch begins with: all that the backend still has.
func readAgain(ctx context.Context, backend Watched, key, end string, after int64) (Page, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := backend.Watch(ctx, after+1)
	if watch.CompactRevision != 0 {
		return Page{Compacted: watch.CompactRevision}, server.ErrCompacted
	}
	select {
	case err := <-watch.Errorc:
		return Page{}, err
	case batch := <-watch.Eventc:
		page := cut(batch, key, end, after)
		return page, addPrevious(ctx, backend, page.Events)
	case <-ctx.Done():
		return Page{}, ctx.Err()
	}
}

// addPrevious reads the values before that a backend leaves out because they are older than what is compacted. They are
// there: what is compacted is only what had been replaced by then.
func addPrevious(ctx context.Context, backend Watched, events []*server.Event) error {
	for _, event := range events {
		if event.Create || event.PrevKV != nil {
			continue
		}
		_, previous, err := backend.Get(ctx, event.KV.Key, event.KV.ModRevision-1, false)
		if err != nil {
			return err
		}
		event.PrevKV = previous
	}
	return nil
}

func cut(batch server.EventBatch, key, end string, after int64) Page {
	page := Page{Through: max(after, batch.CurrentRev)}
	bytes := 0
	for _, event := range batch.Events {
		if !event.InRange(key, end) {
			continue
		}
		page.Events = append(page.Events, event)
		if bytes += Size(event); bytes >= PageBytes || len(page.Events) == PageEvents {
			page.Through = event.KV.ModRevision
			return page
		}
	}
	return page
}
