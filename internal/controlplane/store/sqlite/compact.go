package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/k3s-io/kine/pkg/server"
)

const (
	// So many revisions are kept however old they are: who lists in pages or watches slowly needs them.
	compactKeep = 1000
	// Revisions that one transaction forgets: writers wait for it.
	compactStep = 1000
)

// Compact implements logstructured.Log: it forgets what was replaced or deleted at or before the revision.
func (l *log) Compact(ctx context.Context, revision int64) (int64, error) {
	current, _ := l.history.Current()
	if revision > current {
		return 0, server.ErrFutureRev
	}
	from, err := l.dialect.GetCompactRevision(ctx)
	if err != nil {
		return 0, fmt.Errorf("read what is forgotten: %w", err)
	}
	to := min(revision, current-compactKeep)
	if to <= from {
		return 0, server.ErrCompacted
	}
	for from < to {
		next := min(from+compactStep, to)
		if err := l.compactStep(ctx, from, next); err != nil {
			return 0, fmt.Errorf("forget revisions until %d: %w", next, err)
		}
		from = next
	}
	if err := l.dialect.PostCompact(ctx); err != nil {
		return 0, fmt.Errorf("write the log back: %w", err)
	}
	return current, nil
}

func (l *log) compactStep(ctx context.Context, from, to int64) (err error) {
	l.writer.disk.Lock()
	defer l.writer.disk.Unlock()
	tx, err := l.dialect.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if err := tx.SetCompactRevision(ctx, to); err != nil {
		return err
	}
	if _, err := tx.Compact(ctx, from, to); err != nil {
		return err
	}
	return tx.Commit()
}
