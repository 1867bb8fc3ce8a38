package etcdapi

import (
	"context"
	"errors"
	"slices"

	"github.com/k3s-io/kine/pkg/server"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/history"
)

// watch is one on a stream.
type watch struct {
	id       int64
	key, end string
	// next is the first revision that it has not seen; what is older is not for it. It may be in the future.
	next int64
	// wantsProgress is what it asked for; wasSent tells whether there was anything since the last tick.
	wantsProgress, wasSent bool
	wantsPrevious          bool
	ignoresPut             bool
	ignoresDelete          bool
}

// stream holds the watches of one connection. Those that are synced go on together at the revision seen; the lagging ones
// are before that, each at its own revision.
type stream struct {
	history *history.History
	send    func(*etcdserverpb.WatchResponse) error

	seen    int64
	nextID  int64
	synced  []*watch
	lagging []*watch
	// progressAsked is that somebody waits to be told a revision.
	progressAsked bool
}

func newStream(events *history.History, send func(*etcdserverpb.WatchResponse) error) *stream {
	current, _ := events.Current()
	return &stream{history: events, send: send, seen: current, nextID: 1}
}

func (s *stream) handle(request *etcdserverpb.WatchRequest) error {
	switch r := request.GetRequestUnion().(type) {
	case *etcdserverpb.WatchRequest_CreateRequest:
		return s.create(r.CreateRequest)
	case *etcdserverpb.WatchRequest_CancelRequest:
		return s.cancel(r.CancelRequest.GetWatchId())
	case *etcdserverpb.WatchRequest_ProgressRequest:
		s.progressAsked = true
	}
	return nil
}

func (s *stream) create(r *etcdserverpb.WatchCreateRequest) error {
	current, _ := s.history.Current()
	if refused := refusal(r); refused != nil {
		return s.send(&etcdserverpb.WatchResponse{
			Header: header(current), WatchId: clientv3.InvalidWatchID, Created: true, Canceled: true, CancelReason: refused.Error(),
		})
	}
	w := newWatch(s.nextID, r)
	s.nextID++
	if w.next == 0 {
		w.next = current + 1
	}
	if len(s.synced) == 0 {
		s.seen = current // What was before concerns nobody here.
	}
	if w.next > s.seen {
		s.synced = append(s.synced, w)
	} else {
		s.lagging = append(s.lagging, w)
	}
	return s.send(&etcdserverpb.WatchResponse{Header: header(current), WatchId: w.id, Created: true})
}

func refusal(r *etcdserverpb.WatchCreateRequest) error {
	if r.GetWatchId() != clientv3.AutoWatchID {
		return server.ErrInvalidWatch
	}
	if r.GetStartRevision() < 0 {
		return server.ErrCompacted
	}
	return nil
}

func newWatch(id int64, r *etcdserverpb.WatchCreateRequest) *watch {
	w := &watch{
		id: id, key: storedKey(r.GetKey()), end: string(r.GetRangeEnd()), next: r.GetStartRevision(),
		wantsProgress: r.GetProgressNotify(), wantsPrevious: r.GetPrevKv(),
		ignoresPut:    slices.Contains(r.GetFilters(), etcdserverpb.WatchCreateRequest_NOPUT),
		ignoresDelete: slices.Contains(r.GetFilters(), etcdserverpb.WatchCreateRequest_NODELETE),
	}
	// etcd's way to say "all keys", and kine's.
	if w.key == "\x00" && w.end == "\x00" {
		w.key, w.end = "", ""
	}
	return w
}

// isAhead tells whether a revision is older than what the watch has seen, or began at: the list that its client has may, for a moment, be
// newer than what was published. A client that is told such a revision goes back to it.
func (w *watch) isAhead(revision int64) bool { return w.next-1 > revision }

func (s *stream) cancel(id int64) error {
	if !s.remove(id) {
		return nil // It has ended by itself.
	}
	current, _ := s.history.Current()
	return s.send(&etcdserverpb.WatchResponse{Header: header(current), WatchId: id, Canceled: true})
}

func (s *stream) remove(id int64) bool {
	is := func(w *watch) bool { return w.id == id }
	before := len(s.synced) + len(s.lagging)
	s.synced = slices.DeleteFunc(s.synced, is)
	s.lagging = slices.DeleteFunc(s.lagging, is)
	return len(s.synced)+len(s.lagging) < before
}

// deliver sends the next page to those that are synced and to one that lags, and then the progress if it was asked for. It
// tells whether there is more to send than that.
func (s *stream) deliver(ctx context.Context, current int64) (more bool, err error) {
	if err := s.goOn(current); err != nil {
		return false, err
	}
	if len(s.lagging) > 0 {
		if err := s.catchUp(ctx); err != nil {
			return false, err
		}
	}
	if len(s.lagging) > 0 {
		return true, nil
	}
	return false, s.reportIfAsked(current)
}

// goOn sends what is new to those that are synced, or makes them lag when memory no longer has all of it.
func (s *stream) goOn(current int64) error {
	if len(s.synced) == 0 {
		s.seen = max(s.seen, current)
		return nil
	}
	if s.seen >= current {
		return nil
	}
	page, ok := s.history.Recent(s.seen)
	if !ok {
		for _, w := range s.synced {
			w.next = max(w.next, s.seen+1)
		}
		s.lagging = append(s.lagging, s.synced...)
		s.synced, s.seen = nil, current
		return nil
	}
	for _, w := range s.synced {
		if err := s.sendEvents(w, page); err != nil {
			return err
		}
	}
	s.seen = page.Through
	return nil
}

// catchUp sends a page to the watch that has waited the longest.
func (s *stream) catchUp(ctx context.Context) error {
	w := s.lagging[0]
	s.lagging = s.lagging[1:]
	page, err := s.history.After(ctx, w.key, w.end, w.next-1)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return s.send(&etcdserverpb.WatchResponse{
			Header: header(s.seen), WatchId: w.id, Canceled: true, CompactRevision: page.Compacted, CancelReason: reason(err),
		})
	}
	if err := s.sendEvents(w, page); err != nil {
		return err
	}
	if w.next > s.seen {
		s.synced = append(s.synced, w)
	} else {
		s.lagging = append(s.lagging, w)
	}
	return nil
}

func reason(err error) string {
	if errors.Is(err, server.ErrCompacted) {
		return server.ErrCompacted.Error()
	}
	return err.Error()
}

// sendEvents sends those of a page that are for the watch, which has then seen the page.
func (s *stream) sendEvents(w *watch, page history.Page) error {
	response := &etcdserverpb.WatchResponse{WatchId: w.id}
	for _, event := range page.Events {
		if w.wants(event) {
			response.Events = append(response.Events, w.event(event))
			response.Header = header(event.KV.ModRevision)
		}
	}
	w.next = max(w.next, page.Through+1)
	if len(response.Events) == 0 {
		return nil
	}
	w.wasSent = true
	return s.send(response)
}

// reportIfAsked tells all watches the revision, when none of them was told more and none less.
func (s *stream) reportIfAsked(current int64) error {
	if !s.progressAsked || s.seen < current {
		return nil
	}
	for _, w := range s.synced {
		if w.isAhead(s.seen) {
			return nil
		}
	}
	s.progressAsked = false
	if len(s.synced) == 0 {
		return nil
	}
	return s.send(&etcdserverpb.WatchResponse{Header: header(s.seen), WatchId: clientv3.InvalidWatchID})
}

// tick tells those their revision that want to know and had no event since the last tick.
func (s *stream) tick() error {
	for _, w := range s.synced {
		isDue := w.wantsProgress && !w.wasSent && !w.isAhead(s.seen)
		w.wasSent = false
		if !isDue {
			continue
		}
		if err := s.send(&etcdserverpb.WatchResponse{Header: header(s.seen), WatchId: w.id}); err != nil {
			return err
		}
	}
	return nil
}

func header(revision int64) *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{Revision: revision}
}
