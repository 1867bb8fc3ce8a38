package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store"
)

const timeout = 20 * time.Second

func open(t testing.TB, c config.Store) (store.Store, *clientv3.Client) {
	t.Helper()
	s, err := store.New(c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	endpoint, err := s.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: timeout, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s, client) })
	return s, client
}

func stop(t testing.TB, s store.Store, client *clientv3.Client) {
	t.Helper()
	if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("close the client: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// create is what the API server does to create: a transaction on an absent key.
func create(ctx context.Context, c *clientv3.Client, key, value string) (bool, int64, error) {
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).Then(clientv3.OpPut(key, value)).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return false, 0, err
	}
	return r.Succeeded, r.Header.Revision, nil
}

func update(ctx context.Context, c *clientv3.Client, key, value string, revision int64) (bool, error) {
	ok, _, err := updateAt(ctx, c, key, value, revision)
	return ok, err
}

// updateAt also returns the new revision.
func updateAt(ctx context.Context, c *clientv3.Client, key, value string, revision int64) (bool, int64, error) {
	r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(clientv3.OpPut(key, value)).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return false, 0, err
	}
	return r.Succeeded, r.Header.Revision, nil
}

// TestConformance is what every store must do for an API server.
func TestConformance(t *testing.T) {
	stores := map[string]func(t *testing.T) config.Store{
		"memory": func(*testing.T) config.Store { return config.Store{Type: config.StoreMemory} },
		"sqlite": func(t *testing.T) config.Store {
			return config.Store{Type: config.StoreSQLite, Path: filepath.Join(t.TempDir(), "data", "state.db")}
		},
	}
	checks := map[string]func(*testing.T, *clientv3.Client){
		"a key is created once":         createsOnce,
		"an update needs the revision":  updatesByRevision,
		"a list is a snapshot":          listsAtRevision,
		"a watch sees every write soon": watches,
		"a lease ends its keys":         leases,
	}
	for name, configure := range stores {
		for what, check := range checks {
			t.Run(name+"/"+what, func(t *testing.T) {
				_, client := open(t, configure(t))
				check(t, client)
			})
		}
	}
}

func createsOnce(t *testing.T, c *clientv3.Client) {
	var wins sync.Map
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if won, _, err := create(t.Context(), c, "/registry/one", fmt.Sprint(i)); err == nil && won {
				wins.Store(i, true)
			}
		})
	}
	group.Wait()
	count := 0
	wins.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d of 8 writers created the same key", count)
	}
}

func updatesByRevision(t *testing.T, c *clientv3.Client) {
	_, revision, err := create(t.Context(), c, "/registry/a", "1")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := update(t.Context(), c, "/registry/a", "2", revision); !ok || err != nil {
		t.Fatalf("update: %v, %v", ok, err)
	}
	if ok, err := update(t.Context(), c, "/registry/a", "3", revision); ok || err != nil {
		t.Errorf("an update with an old revision: %v, %v", ok, err)
	}
	r, err := c.Get(t.Context(), "/registry/a")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "2" {
		t.Errorf("got %v, %v", r, err)
	}
}

func listsAtRevision(t *testing.T, c *clientv3.Client) {
	var last int64
	for i := range 5 {
		_, revision, err := create(t.Context(), c, fmt.Sprintf("/registry/list/%d", i), "x")
		if err != nil {
			t.Fatal(err)
		}
		last = revision
	}
	if _, _, err := create(t.Context(), c, "/registry/list/9", "x"); err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(t.Context(), "/registry/list/", clientv3.WithPrefix(), clientv3.WithRev(last))
	if err != nil || len(r.Kvs) != 5 {
		t.Errorf("list at revision %d: %v, %v", last, r, err)
	}
}

func watches(t *testing.T, c *clientv3.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	events := c.Watch(ctx, "/registry/watch/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	if first := <-events; !first.Created {
		t.Fatalf("the watch was not created: %v", first.Err())
	}
	began := time.Now()
	const writes = 50
	for i := range writes {
		if _, _, err := create(ctx, c, fmt.Sprintf("/registry/watch/%02d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for response := range events {
		for _, event := range response.Events {
			if want := fmt.Sprintf("/registry/watch/%02d", seen); string(event.Kv.Key) != want {
				t.Fatalf("event %d is of %s", seen, event.Kv.Key)
			}
			seen++
		}
		if seen == writes {
			break
		}
	}
	// A store that polled would need its interval, which is longer than this.
	if took := time.Since(began); seen != writes || took > 10*time.Second {
		t.Errorf("%d events after %s", seen, took)
	}
}

func leases(t *testing.T, c *clientv3.Client) {
	lease, err := c.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision("/registry/lease"), "=", 0)).
		Then(clientv3.OpPut("/registry/lease", "x", clientv3.WithLease(lease.ID))).Commit(); err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		r, err := c.Get(ctx, "/registry/lease")
		if err != nil {
			return false, err
		}
		return len(r.Kvs) == 0, nil
	})
	if err != nil {
		t.Fatalf("wait for the key to end with its lease: %v", err)
	}
}

func TestSQLiteKeepsWhatWasAcknowledged(t *testing.T) {
	c := config.Store{Type: config.StoreSQLite, Path: filepath.Join(t.TempDir(), "state.db")}
	runtimeDir := t.TempDir()
	for round := range 3 {
		s, err := store.New(c, runtimeDir)
		if err != nil {
			t.Fatal(err)
		}
		endpoint, err := s.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: timeout, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Get(t.Context(), "/registry/kept/", clientv3.WithPrefix())
		if err != nil || len(r.Kvs) != round {
			t.Errorf("round %d: %d keys, %v", round, len(r.Kvs), err)
		}
		if ok, _, err := create(t.Context(), client, fmt.Sprintf("/registry/kept/%d", round), "x"); !ok || err != nil {
			t.Errorf("round %d: %v, %v", round, ok, err)
		}
		stop(t, s, client)
		if entries, err := os.ReadDir(runtimeDir); err != nil || len(entries) != 0 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	}
	if info, err := os.Stat(c.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode: %v, %v", info.Mode(), err)
	}
}

func TestCorruptFileIsAnErrorWithoutTheDataSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.New(config.Store{Type: config.StoreSQLite, Path: path}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = s.Start(ctx)
	if !errors.Is(err, store.ErrOpen) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "_synchronous") || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("the error shows the data source or not the reason: %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop after a failed start: %v", err)
	}
}

func TestUnknownStore(t *testing.T) {
	if _, err := store.New(config.Store{Type: "etcd"}, t.TempDir()); err == nil {
		t.Error("an unknown store was accepted")
	}
}
