// Package store runs the datastore of a control plane and hands the API server an etcd endpoint for it.
//
// It is not a client and it knows nothing of Kubernetes objects. Invariants: a write that was acknowledged is on disk
// (sqlite runs with synchronous=FULL); the endpoint is a unix socket that only this process can open and that is gone
// after Stop; nothing here polls: a write wakes the watchers; and no error shows a data source name.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// Store is a datastore that speaks the etcd protocol. It is started once and stopped once.
type Store interface {
	// Start opens the data and returns the endpoint for an etcd client. The context bounds the start alone.
	Start(ctx context.Context) (endpoint string, err error)
	// Stop closes the endpoint and the data; what was acknowledged is kept. It may be called without Start.
	Stop(ctx context.Context) error
}

// ErrOpen is returned when the data cannot be opened: a corrupt file, a folder without write permission, a full disk.
var ErrOpen = errors.New("open the datastore")

// New returns the store that the configuration names. The socket lies in runtimeDir, which must be private.
func New(c config.Store, runtimeDir string) (Store, error) {
	socket := filepath.Join(runtimeDir, "store.sock")
	switch c.Type {
	case config.StoreMemory:
		return checked(&kine{open: openMemory, socket: socket})
	case config.StoreSQLite:
		return NewSQLite(c.Path, socket)
	default:
		return nil, fmt.Errorf("store type %q is not known: use %q or %q", c.Type, config.StoreSQLite, config.StoreMemory)
	}
}

// NewSQLite returns the store in a file, with the socket.
func NewSQLite(path, socket string) (Store, error) {
	if strings.ContainsAny(path, "?%#") {
		return nil, fmt.Errorf("sqlite path %q: must not contain ?, %% or #", path)
	}
	dataSource := sqliteDataSource(path)
	return checked(&kine{
		open: openSQLite(dataSource), socket: socket, dataSource: dataSource,
		prepare: func(ctx context.Context) error { return prepareFile(ctx, path) },
	})
}

func checked(k *kine) (Store, error) {
	// A unix socket's path has 108 bytes in the kernel, the final zero included.
	if len(k.socket) > 107 {
		return nil, fmt.Errorf("socket path %q is longer than 107 bytes: choose a shorter temporary folder", k.socket)
	}
	return k, nil
}

// sqliteDataSource asks for full durability. The vacuum at start is off because it copies the whole file, which would
// make the start as slow as the data is large; freed pages are used again.
func sqliteDataSource(path string) string {
	return path + "?_journal_mode=WAL&_busy_timeout=30000&_synchronous=FULL&_txlock=immediate" +
		"&_kine_disable_startup_vacuum=true"
}

// prepareFile makes the folder and the file, so that both have the right mode before anything is written, and looks
// whether SQLite can read it: kine would try again for minutes.
func prepareFile(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrOpen, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOpen, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%w: %w", ErrOpen, err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOpen, err)
	}
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA schema_version").Scan(&version); err != nil {
		return errors.Join(fmt.Errorf("%w: %q is damaged or no SQLite file (restore it from a backup): %w", ErrOpen, path, err), db.Close())
	}
	return db.Close()
}
