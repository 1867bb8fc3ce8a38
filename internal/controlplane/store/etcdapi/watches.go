// Package etcdapi serves etcd's Watch service from a history.
//
// Beside it, kine's own server answers the other services. What is different here, and as in etcd: a slow watch is not ended
// and loses nothing, it catches up from the store; a revision is reported as progress only after all events until it were sent
// to all watches of the stream; and the reported revision is one that a reader of the store can see, not older. An API
// server waits for that before it answers a consistent list or watch from its cache, and gives up after three seconds with
// "Too large resource version". Invariants: one goroutine sends on a stream, in order; per stream no more than one page of
// the history is in memory; a watch whose next event is forgotten ends with the compacted revision.
package etcdapi

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/history"
)

// waitingRequests is how many requests of one stream are taken before they are looked at; more wait in the connection.
const waitingRequests = 64

// Watches is etcd's Watch service.
type Watches struct {
	etcdserverpb.UnsafeWatchServer
	history *history.History
	// interval is how often a watch without events is told the revision, if it wants to know.
	interval time.Duration
}

// New returns the service. Readers that need to know the revision sooner than after the interval ask for it.
func New(events *history.History, interval time.Duration) *Watches {
	return &Watches{history: events, interval: interval}
}

var _ etcdserverpb.WatchServer = (*Watches)(nil)

// Watch implements etcdserverpb.WatchServer.
func (w *Watches) Watch(connection etcdserverpb.Watch_WatchServer) error {
	ctx, cancel := context.WithCancel(connection.Context())
	defer cancel()
	requests := make(chan *etcdserverpb.WatchRequest, waitingRequests)
	failed := make(chan error, 1)
	// It ends with the stream, which ends when this function returns.
	go func() { failed <- receive(ctx, connection, requests) }()

	s := newStream(w.history, connection.Send)
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		current, changed := w.history.Current()
		more, err := s.deliver(ctx, current)
		if err != nil {
			return err
		}
		ready := changed
		if more {
			ready = closed
		}
		select {
		case request := <-requests:
			err = s.handle(request)
		case <-ready:
		case <-ticker.C:
			err = s.tick()
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// closed is always ready.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func receive(ctx context.Context, connection etcdserverpb.Watch_WatchServer, requests chan<- *etcdserverpb.WatchRequest) error {
	for {
		request, err := connection.Recv()
		if err != nil {
			return err
		}
		select {
		case requests <- request:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
