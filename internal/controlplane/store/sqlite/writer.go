package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/k3s-io/kine/pkg/drivers/generic"
	"github.com/k3s-io/kine/pkg/server"
)

const (
	// What one transaction takes at most: it holds up the one who wrote first.
	groupWrites = 256
	groupBytes  = 4 << 20
)

// kine does both in one statement, which SQLite prepares anew for each event.
const (
	latestSQL = `SELECT id, deleted, create_revision, value FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1`
	insertSQL = `INSERT INTO kine(name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES(?, ?, ?, ?, ?, ?, ?, ?)`
)

var errEnded = errors.New("the datastore has ended")

// insert is one event that somebody waits for.
type insert struct {
	event *server.Event
	done  chan result
}

type result struct {
	revision int64
	err      error
}

// writer puts all events that come while it writes into its next transaction, so that one sync of the disk serves many.
//
// It is the only one that inserts. That makes revisions dense and their order the order of the commits, so that what it has
// committed can be published as it is.
type writer struct {
	dialect *generic.Generic
	inserts chan *insert
	ended   chan struct{}
	publish func([]*server.Event)
	// disk is held while a transaction of this process writes.
	disk sync.Mutex

	conn *sql.Conn
	// latest reads the newest row of a key, insertRow writes one.
	latest, insertRow *sql.Stmt
}

func newWriter(dialect *generic.Generic, publish func([]*server.Event)) *writer {
	return &writer{
		dialect: dialect,
		inserts: make(chan *insert, groupWrites),
		ended:   make(chan struct{}),
		publish: publish,
	}
}

// write returns the revision of the event when it is on the disk. With an error of the context it may be written or not.
func (w *writer) write(ctx context.Context, event *server.Event) (int64, error) {
	own := &insert{event: event, done: make(chan result, 1)}
	select {
	case w.inserts <- own:
	case <-w.ended:
		return 0, errEnded
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case r := <-own.done:
		return r.revision, r.err
	case <-w.ended:
		return 0, errEnded
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run writes until the context ends. What was taken until then is written to the end.
func (w *writer) run(ctx context.Context) {
	defer w.disconnect()
	defer close(w.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-w.inserts:
			w.group(w.gather(first))
		}
	}
}

// gather takes what waits, without waiting itself.
func (w *writer) gather(first *insert) []*insert {
	group, bytes := []*insert{first}, len(first.event.KV.Value)
	for len(group) < groupWrites && bytes < groupBytes {
		select {
		case next := <-w.inserts:
			group = append(group, next)
			bytes += len(next.event.KV.Value)
		default:
			return group
		}
	}
	return group
}

// group writes some events in one transaction, publishes them, and answers.
func (w *writer) group(group []*insert) {
	results := make([]result, len(group))
	events, err := w.commit(group, results)
	if err != nil {
		for i := range results {
			results[i] = result{err: err}
		}
	}
	w.publish(events)
	for i, own := range group {
		own.done <- results[i]
	}
}

// commit returns what is on the disk then. An error means that nothing of the group is.
func (w *writer) commit(group []*insert, results []result) (events []*server.Event, err error) {
	w.disk.Lock()
	defer w.disk.Unlock()
	// Whoever gave up waiting does not take the others' writes along: the context is nobody's.
	ctx := context.Background()
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		w.disconnect()
		return nil, fmt.Errorf("begin to write: %w", err)
	}
	for i, own := range group {
		event, err := w.insert(ctx, own.event)
		switch {
		case errors.Is(err, server.ErrKeyExists):
			results[i] = result{err: err}
		case err != nil:
			w.rollback(ctx)
			return nil, err
		case event != nil:
			results[i] = result{revision: event.KV.ModRevision}
			events = append(events, event)
		}
	}
	if _, err := w.conn.ExecContext(ctx, "COMMIT"); err != nil {
		w.rollback(ctx)
		return nil, fmt.Errorf("commit: %w", err)
	}
	return events, nil
}

// insert returns the event as a watcher sees it, or nil when the key has another revision than the event follows.
func (w *writer) insert(ctx context.Context, event *server.Event) (*server.Event, error) {
	follows := int64(0)
	if event.PrevKV != nil {
		follows = event.PrevKV.ModRevision
	}
	previous, err := w.latestOf(ctx, event.KV.Key)
	if err != nil {
		return nil, err
	}
	if previous.id.Int64 != follows {
		return nil, nil //nolint:nilnil // it lost a race; so says kine's contract, too
	}
	stored := row{
		name: event.KV.Key, created: event.Create, deleted: event.Delete, prevRevision: follows, lease: event.KV.Lease, value: event.KV.Value,
	}
	if previous.id.Valid && !previous.deleted {
		stored.createRevision, stored.oldValue = previous.createRevision, previous.value
		if stored.createRevision.Int64 == 0 {
			stored.createRevision = previous.id
		}
	}
	inserted, err := w.insertRow.ExecContext(ctx, stored.name, number(stored.created), number(stored.deleted), stored.createRevision,
		stored.prevRevision, stored.lease, stored.value, stored.oldValue)
	if err != nil {
		return nil, w.dialect.TranslateErr(err)
	}
	stored.id.Int64, err = inserted.LastInsertId()
	return stored.event(), err
}

// latestOf returns an empty row for a key that never was.
func (w *writer) latestOf(ctx context.Context, key string) (latest row, err error) {
	err = w.latest.QueryRowContext(ctx, key).Scan(&latest.id, &latest.deleted, &latest.createRevision, &latest.value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return latest, fmt.Errorf("read what is to be replaced: %w", err)
	}
	return latest, nil
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (w *writer) connect(ctx context.Context) (err error) {
	if w.conn != nil {
		return nil
	}
	if w.conn, err = w.dialect.DB.Conn(ctx); err != nil {
		return fmt.Errorf("connect to write: %w", err)
	}
	if w.latest, err = w.conn.PrepareContext(ctx, latestSQL); err == nil {
		w.insertRow, err = w.conn.PrepareContext(ctx, insertSQL)
	}
	if err != nil {
		w.disconnect()
		return fmt.Errorf("prepare to write: %w", err)
	}
	return nil
}

// rollback also lets go of the connection: after an error nobody knows what state it is in.
func (w *writer) rollback(ctx context.Context) {
	// Some errors have rolled back already, and then this is one.
	_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
	w.disconnect()
}

func (w *writer) disconnect() {
	// They go with the connection, and that back into the pool, where a broken one is found out.
	for _, statement := range []*sql.Stmt{w.latest, w.insertRow} {
		if statement != nil {
			_ = statement.Close()
		}
	}
	if w.conn != nil {
		_ = w.conn.Close()
	}
	w.latest, w.insertRow, w.conn = nil, nil, nil
}
