package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/k3s-io/kine/pkg/drivers/generic"
	"github.com/k3s-io/kine/pkg/server"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/history"
)

// row is one of kine's table.
type row struct {
	id             sql.NullInt64
	name           string
	created        bool
	deleted        bool
	createRevision sql.NullInt64
	prevRevision   int64
	lease          int64
	value          []byte
	oldValue       []byte
}

func (r *row) event() *server.Event {
	event := &server.Event{Create: r.created, Delete: r.deleted, KV: &server.KeyValue{
		Key: r.name, Value: r.value, CreateRevision: r.createRevision.Int64, ModRevision: r.id.Int64, Lease: r.lease,
	}}
	if r.created {
		event.KV.CreateRevision = r.id.Int64
		return event
	}
	event.PrevKV = &server.KeyValue{
		Key: r.name, Value: r.oldValue, CreateRevision: r.createRevision.Int64, ModRevision: r.prevRevision, Lease: r.lease,
	}
	return event
}

// pageAfter reads a page of the history. The value before is in the row, so it is there although its own row is forgotten.
func pageAfter(ctx context.Context, dialect *generic.Generic, key, end string, after int64) (page history.Page, err error) {
	rows, err := dialect.After(ctx, key, end, after, history.PageEvents)
	if err != nil {
		return page, fmt.Errorf("read the history: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var current, compacted sql.NullInt64
	read, bytes := 0, 0
	for rows.Next() {
		stored, err := scan(rows, &current, &compacted)
		if err != nil {
			return history.Page{}, fmt.Errorf("read the history: %w", err)
		}
		if after < compacted.Int64 {
			return history.Page{Compacted: compacted.Int64}, server.ErrCompacted
		}
		if !stored.id.Valid {
			break // The one row that is there when there is no event.
		}
		read++
		page.Through = stored.id.Int64
		event := stored.event()
		if !dialect.IsFill(event.KV.Key) {
			page.Events = append(page.Events, event)
			bytes += history.Size(event)
		}
		if bytes >= history.PageBytes {
			return page, nil
		}
	}
	if err := rows.Err(); err != nil {
		return history.Page{}, fmt.Errorf("read the history: %w", err)
	}
	if read < history.PageEvents {
		page.Through = max(after, current.Int64)
	}
	return page, nil
}

func scan(rows *sql.Rows, current, compacted *sql.NullInt64) (*row, error) {
	var (
		r                   row
		name                sql.NullString
		created, deleted    sql.NullBool
		prevRevision, lease sql.NullInt64
	)
	err := rows.Scan(current, compacted, &r.id, &name, &created, &deleted, &r.createRevision, &prevRevision, &lease, &r.value, &r.oldValue)
	r.name, r.created, r.deleted = name.String, created.Bool, deleted.Bool
	r.prevRevision, r.lease = prevRevision.Int64, lease.Int64
	return &r, err
}
