package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/k3s-io/kine/pkg/drivers/generic"
	"github.com/k3s-io/kine/pkg/server"
)

// page lists the newest rows of the names that a condition picks, as they come in the order of the index, and ends at the limit. kine's
// query finds the newest rows of all names first, with their values. An API server that wants to know how new its cache must be lists
// one object of a kind: that must not cost what all objects of the kind do. Where nothing is found there is one row without an id. The
// join keeps the order, having one row on its left.
const page = `
	WITH
	revisions AS (SELECT (%s) AS current, (%s) AS compacted),
	page AS (
		SELECT id, name, created, deleted, create_revision, prev_revision, lease, CASE WHEN ? THEN NULL ELSE value END AS value
		FROM kine AS newest WHERE (deleted = 0 OR ?) AND %s ORDER BY name LIMIT ?)
	SELECT current, compacted, page.*, NULL FROM revisions LEFT JOIN page ON TRUE`

var (
	rangeSQL = fmt.Sprintf(page, generic.CurrentRevSQL, generic.CompactRevSQL,
		"name >= ? AND name < ? AND id = (SELECT MAX(id) FROM kine WHERE name = newest.name AND id <= ?)")
	keySQL = fmt.Sprintf(page, generic.CurrentRevSQL, generic.CompactRevSQL,
		"id = (SELECT MAX(id) FROM kine WHERE name = ? AND id <= ?)")
)

// allNames is behind every name.
const allNames = "\xff"

// List implements logstructured.Log. A limit of 0 is none, revision 0 the newest, and an empty end means the key alone. A list that could
// not be read to its end is an error; kine takes it for a whole one.
func (l *log) List(ctx context.Context, key, end string, limit, revision int64, includeDeleted, keysOnly bool) (server.EventBatch, error) {
	if key == "" {
		end = allNames
	}
	if limit <= 0 {
		limit = -1
	}
	until := revision
	if until == 0 {
		until = math.MaxInt64
	}
	query, picked := rangeSQL, []any{key, end}
	if end == "" {
		query, picked = keySQL, picked[:1]
	}
	rows, err := l.dialect.DB.QueryContext(ctx, query, slices.Concat([]any{keysOnly, includeDeleted}, picked, []any{until, limit})...)
	if err != nil {
		return server.EventBatch{}, fmt.Errorf("list %q: %w", key, err)
	}
	batch, compacted, err := readList(rows)
	if err != nil {
		return server.EventBatch{}, fmt.Errorf("list %q: %w", key, err)
	}
	switch {
	case batch.CurrentRev == 0:
		return batch, server.ErrGRPCUnhealthy
	case revision > batch.CurrentRev:
		return batch, server.ErrFutureRev
	case revision > 0 && revision < compacted:
		return batch, server.ErrCompacted
	}
	return batch, nil
}

func readList(rows *sql.Rows) (batch server.EventBatch, compacted int64, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	var currentRevision, compactedRevision sql.NullInt64
	for rows.Next() {
		stored, err := scan(rows, &currentRevision, &compactedRevision)
		if err != nil {
			return server.EventBatch{}, 0, err
		}
		if stored.id.Valid {
			batch.Events = append(batch.Events, stored.event())
		}
	}
	batch.CurrentRev = currentRevision.Int64
	return batch, compactedRevision.Int64, rows.Err()
}
