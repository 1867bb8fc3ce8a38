package store

import (
	"context"
	"errors"
	"time"

	"github.com/k3s-io/kine/pkg/server"
	"github.com/sirupsen/logrus"
)

// compacter is the part of kine's backend that compaction needs.
type compacter interface {
	CurrentRevision(ctx context.Context) (int64, error)
	Compact(ctx context.Context, revision int64) (int64, error)
}

// compact forgets what is older than one interval, again and again until the context ends. Watches and paged lists
// that took longer than an interval start over, as with etcd.
func compact(ctx context.Context, backend compacter, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before int64
	for {
		if before > 0 {
			if _, err := backend.Compact(ctx, before); err != nil && !errors.Is(err, server.ErrCompacted) {
				logrus.Errorf("Compact the datastore: %v", err)
			}
		}
		now, err := backend.CurrentRevision(ctx)
		if err == nil {
			before = now
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
