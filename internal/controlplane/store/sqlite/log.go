package sqlite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/generic"
	"github.com/k3s-io/kine/pkg/logstructured"
	"github.com/k3s-io/kine/pkg/logstructured/sqllog"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/sirupsen/logrus"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/history"
)

// log is kine's log with another way to write, to follow, to list and to compact; what is counted is kine's.
type log struct {
	*sqllog.SQLLog
	dialect *generic.Generic
	running *sync.WaitGroup
	writer  *writer
	history *history.History
}

var _ logstructured.Log = (*log)(nil)

func newLog(dialect *generic.Generic, running *sync.WaitGroup, c *drivers.Config) *log {
	return &log{SQLLog: sqllog.New(dialect, running, c), dialect: dialect, running: running}
}

// Start implements logstructured.Log. The writer ends with the context.
func (l *log) Start(ctx context.Context) error {
	// It makes the key that holds the compacted revision, by kine's own way of writing.
	if err := l.SQLLog.Start(ctx); err != nil {
		return err
	}
	current, err := l.dialect.CurrentRevision(ctx)
	if err != nil {
		return err
	}
	l.history = history.New(current, func(ctx context.Context, key, end string, after int64) (history.Page, error) {
		return pageAfter(ctx, l.dialect, key, end, after)
	})
	l.writer = newWriter(l.dialect, l.history.Publish)
	l.running.Go(func() { l.writer.run(ctx) })
	return nil
}

// CurrentRevision implements logstructured.Log: the newest revision that watchers can see.
func (l *log) CurrentRevision(context.Context) (int64, error) {
	current, _ := l.history.Current()
	return current, nil
}

// Append implements logstructured.Log.
func (l *log) Append(ctx context.Context, event *server.Event) (int64, error) {
	return l.writer.write(ctx, event)
}

// Watch implements logstructured.Log: everything from now on, for who is slow, too. The goroutine ends with the context. What expires is
// found by way of it and by nothing else, so that a read that fails is tried again.
func (l *log) Watch(ctx context.Context) <-chan server.EventBatch {
	batches := make(chan server.EventBatch)
	after, _ := l.history.Current()
	l.running.Go(func() {
		defer close(batches)
		for ctx.Err() == nil {
			err := l.history.Follow(ctx, "", "", after, func(page history.Page) error {
				select {
				case batches <- server.EventBatch{Events: page.Events, CurrentRev: page.Through}:
					after = page.Through
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if ctx.Err() != nil {
				return
			}
			logrus.Errorf("Datastore does not follow its history, it tries again: %v", err)
			if errors.Is(err, server.ErrCompacted) {
				after, _ = l.history.Current()
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	})
	return batches
}
