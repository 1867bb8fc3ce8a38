package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/k3s-io/kine/pkg/endpoint"
	_ "modernc.org/sqlite" // The driver for the look at the pages; kine uses it too.

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/sqlite"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// datastore is kine in front of SQLite, with the API of etcd on a unix socket.
type datastore struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

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
	// A killed process leaves its socket behind.
	socket := datastoreSocket(layout)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket of the datastore: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	store := &datastore{cancel: cancel}
	_, err := endpoint.Listen(ctx, endpoint.Config{
		Listener: "unix://" + socket,
		Endpoint: sqlite.Scheme + "://" + path + "?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate",
		// kine takes no zero values.
		NotifyInterval:   5 * time.Second,
		CompactInterval:  5 * time.Minute,
		CompactTimeout:   5 * time.Second,
		CompactMinRetain: 1000,
		CompactBatchSize: 1000,
		PollBatchSize:    500,
		PollInterval:     time.Second,
		WaitGroup:        &store.wait,
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open the datastore %s: %w; if it is damaged, restore the data folder from a backup or remove it with `matry down --purge`", path, err)
	}
	if err := answers(ctx, socket); err != nil {
		cancel()
		return nil, err
	}
	return store, nil
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

func answers(ctx context.Context, socket string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("reach the datastore: %w", err)
	}
	return conn.Close()
}

// stop ends the store. It does not wait for long for clients that do not let go: what was acknowledged is on the disk.
func (d *datastore) stop() {
	d.cancel()
	waitAtMost(500*time.Millisecond, d.wait.Wait)
}
