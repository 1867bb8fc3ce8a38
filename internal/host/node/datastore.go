package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // The driver for the look at the pages; kine uses it too.

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// openTimeout bounds the opening; a large log of writes has to be read first.
const openTimeout = time.Minute

// datastore is kine in front of SQLite, with the API of etcd on a unix socket: what a control plane has, too.
type datastore struct{ store store.Store }

func datastoreSocket(layout control.Layout) string { return layout.Run("kine.sock") }

// startDatastore returns when the store answers. It gets a context of its own, because it must end after the API server.
func startDatastore(layout control.Layout) (*datastore, error) {
	path := layout.Data("datastore", "state.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the datastore: %w", err)
	}
	if err := checkDatabase(path); err != nil {
		return nil, err
	}
	opened, err := store.NewSQLite(path, datastoreSocket(layout))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if _, err := opened.Start(ctx); err != nil {
		return nil, fmt.Errorf("open the datastore %s: %w; if it is damaged, restore the data folder from a backup or remove it with `matry down --purge`", path, err)
	}
	return &datastore{opened}, nil
}

// checkTimeout bounds the look at the pages of a large database.
const checkTimeout = 5 * time.Second

// sqliteMagic begins every SQLite database.
const sqliteMagic = "SQLite format 3\x00"

// checkDatabase finds a file that is no database before the driver retries on it for a long time.
func checkDatabase(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the datastore: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at the datastore: %w", err)
	}
	if info.Size() == 0 {
		return nil
	}
	begin := make([]byte, len(sqliteMagic))
	if n, _ := file.ReadAt(begin, 0); n < len(begin) || string(begin) != sqliteMagic {
		return damaged(path, errors.New("it is not a SQLite database"))
	}
	return checkPages(path)
}

// checkPages has SQLite look at its pages: a control plane on damaged ones would fail here and there, much later.
func checkPages(path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return damaged(path, err)
	}
	defer func() { _ = db.Close() }() // Only read from.
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	var result string
	err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // Too large to look at all of it; nothing was found so far.
	}
	if err != nil {
		return damaged(path, err)
	}
	if result != "ok" {
		return damaged(path, errors.New(result))
	}
	return nil
}

func damaged(path string, reason error) error {
	return fmt.Errorf("the datastore %s is damaged: %w; restore the data folder from a backup or remove it with `matry down --purge`", path, reason)
}

// stop ends the store. It does not wait for long for clients that do not let go: what was acknowledged is on the disk.
func (d *datastore) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := d.store.Stop(ctx); err != nil {
		slog.Warn("The datastore does not end", "err", err)
	}
}
