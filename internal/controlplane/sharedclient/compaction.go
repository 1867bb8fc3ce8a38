package sharedclient

import (
	"context"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// compactionInterval is as often as the datastore compacts itself.
const compactionInterval = 5 * time.Minute

// compaction tells watch caches what the datastore has forgotten, so that they forget it too: they keep a snapshot for each
// page of a list that a client may still ask for, and would keep them, and honour the tokens of such lists, for ever.
//
// The datastore compacts itself and tells nobody. But it forgets what is older than one interval, so that is what is told;
// should it have kept more, it is asked for what the caches have forgotten, and answers. It implements etcd3.Compactor.
type compaction struct {
	revision atomic.Int64
}

// CompactRevision is the newest revision that is forgotten; 0 means none.
func (c *compaction) CompactRevision() int64 { return c.revision.Load() }

// follow forgets the revision of one interval before, again and again until the context ends.
func (c *compaction) follow(ctx context.Context, etcd clientv3.KV, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before int64
	for {
		if before > 0 {
			c.revision.Store(before)
		}
		if now, err := currentRevision(ctx, etcd, interval); err == nil {
			before = now
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// currentRevision reads a key that nobody writes, since every answer tells the revision.
func currentRevision(ctx context.Context, etcd clientv3.KV, timeout time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := etcd.Get(ctx, "/matryoshka/revision", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return answer.Header.GetRevision(), nil
}
