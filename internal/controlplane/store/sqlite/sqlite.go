// Package sqlite is kine's datastore in SQLite, with four differences: a write that failed is an error, writes that come at
// the same time share a transaction, whoever follows what is written misses nothing, however slow, and to list a few keys does not cost
// what all do.
//
// kine takes every failed insert for a lost race, looks what is stored under the key, and answers from that. A create of a key
// that does not exist is then acknowledged although nothing was stored, and an update or delete looks like a conflict, which
// an API server tries again without end. A full disk does that, and so does every other failure to write. kine gives
// each write a transaction, and so a sync of the disk, and it drops what a slow watcher has no room for. The table and the translation
// to it remain kine's: a file can be opened by either. Invariants: a write that was acknowledged is on the disk (where the data source
// asks for it by synchronous=FULL), and was published to the history before the answer.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/generic"
	kinesqlite "github.com/k3s-io/kine/pkg/drivers/sqlite"
	"github.com/k3s-io/kine/pkg/logstructured"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/sirupsen/logrus"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/history"
)

// connections to the file: one writes, the others read.
const connections = 4

// Backend is an open file.
type Backend struct {
	truthful
	log *log
}

// Open opens the file that the data source names, in the form of kine's parameters. It is closed, and its goroutines leave
// running, when the context ends. Start has to be called before anything else.
func Open(ctx context.Context, running *sync.WaitGroup, dataSource string) (*Backend, error) {
	keepValuesOut()
	c := &drivers.Config{
		DataSourceName:       dataSource,
		ConnectionPoolConfig: generic.ConnectionPoolConfig{MaxIdle: connections, MaxOpen: connections},
		CompactBatchSize:     compactStep,
	}
	// The backend that comes with the dialect was not started, and holds nothing.
	_, dialect, err := kinesqlite.NewVariant(ctx, running, "sqlite3", c)
	if err != nil {
		return nil, err
	}
	log := newLog(dialect, running, c)
	return &Backend{truthful: newTruthful(log), log: log}, nil
}

// History is what was written, in order. It is there after Start.
func (b *Backend) History() *history.History { return b.log.history }

// truthful is a backend whose failed writes are errors.
type truthful struct{ server.Backend }

func newTruthful(log logstructured.Log) truthful {
	return truthful{logstructured.New(notingLog{log})}
}

// Create implements server.Backend.
func (b truthful) Create(ctx context.Context, key string, value []byte, lease int64) (int64, error) {
	ctx, write := watch(ctx)
	revision, err := b.Backend.Create(ctx, key, value, lease)
	return revision, write.failure("create", key, err)
}

// Update implements server.Backend.
func (b truthful) Update(ctx context.Context, key string, value []byte, revision, lease int64) (int64, *server.KeyValue, bool, error) {
	ctx, write := watch(ctx)
	now, stored, isUpdated, err := b.Backend.Update(ctx, key, value, revision, lease)
	return now, stored, isUpdated, write.failure("update", key, err)
}

// Delete implements server.Backend.
func (b truthful) Delete(ctx context.Context, key string, revision int64) (int64, *server.KeyValue, bool, error) {
	ctx, write := watch(ctx)
	now, stored, isDeleted, err := b.Backend.Delete(ctx, key, revision)
	return now, stored, isDeleted, write.failure("delete", key, err)
}

// write is one call that writes; err is why its last insert failed. A call is one goroutine's.
type write struct{ err error }

type writeKey struct{}

func watch(ctx context.Context) (context.Context, *write) {
	w := &write{}
	return context.WithValue(ctx, writeKey{}, w), w
}

// failure is the error of a call: why its last insert failed, whatever was made of that.
func (w *write) failure(verb, key string, err error) error {
	if w.err == nil {
		return err
	}
	failed := fmt.Errorf("%s %s: %w", verb, key, w.err)
	if !errors.Is(w.err, context.Canceled) {
		logrus.Errorf("Datastore does not write: %v", failed)
	}
	return failed
}

// notingLog tells the call that it works for how its inserts ended.
type notingLog struct{ logstructured.Log }

// Append implements logstructured.Log.
func (l notingLog) Append(ctx context.Context, event *server.Event) (int64, error) {
	revision, err := l.Log.Append(ctx, event)
	if w, ok := ctx.Value(writeKey{}).(*write); ok {
		w.err = err
		if errors.Is(err, server.ErrKeyExists) {
			w.err = nil // somebody else was faster
		}
	}
	return revision, err
}
