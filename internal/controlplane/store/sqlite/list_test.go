package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/k3s-io/kine/pkg/server"
)

func openLog(tb testing.TB) (*Backend, context.Context) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	tb.Cleanup(func() {
		cancel()
		running.Wait()
	})
	dataSource := filepath.Join(tb.TempDir(), "state.db") + "?_journal_mode=WAL&_txlock=immediate"
	backend, err := Open(ctx, &running, dataSource)
	if err != nil {
		tb.Fatal(err)
	}
	if err := backend.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	return backend, ctx
}

// TestListIsLikeKines: whatever was written, deleted, written again and forgotten, every list of every part, at every revision, is that of
// kine's own query.
func TestListIsLikeKines(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	backend, ctx := openLog(t)
	names := []string{"/a", "/a/", "/a/b", "/b/1", "/b/10", "/b/2", "/b/ü", "/c"}
	for step := range 1500 {
		change(ctx, t, backend, names[random.IntN(len(names))], fmt.Sprint("value ", step), random.IntN(4) == 0)
	}
	compactTo := int64(300)
	if _, err := backend.log.Compact(ctx, compactTo); err != nil {
		t.Fatal(err)
	}
	current, err := backend.CurrentRevision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ranges := [][2]string{{"", ""}, {"/", "0"}, {"/a/", "/a0"}, {"/b/", "/b0"}, {"/b/10\x00", "/b0"}, {"/none/", "/none0"}, {"/a", ""}, {"/b", ""}}
	revisions := []int64{0, 1, compactTo - 1, compactTo, compactTo + 1, current - 1, current, current + 1}
	for range 30 {
		revisions = append(revisions, 1+random.Int64N(current))
	}
	for _, part := range ranges {
		for _, revision := range revisions {
			for _, limit := range []int64{0, 1, 2, 3, 100} {
				if part[0] == "" && (revision > 0 || limit > 0) {
					continue // kine takes no notice of either where all keys are asked for
				}
				found += compareLists(ctx, t, backend, part[0], part[1], limit, revision, random.IntN(2) == 0, random.IntN(2) == 0)
			}
		}
	}
	if found < 1000 {
		t.Errorf("the lists held %d objects, which proves little", found)
	}
}

// change creates, updates or deletes a key.
func change(ctx context.Context, tb testing.TB, backend server.Backend, name, value string, isEnd bool) {
	tb.Helper()
	_, known, err := backend.Get(ctx, name, 0, false)
	switch {
	case err == nil && known == nil:
		_, err = backend.Create(ctx, name, []byte(value), 0)
	case err == nil && isEnd:
		_, _, _, err = backend.Delete(ctx, name, known.ModRevision)
	case err == nil:
		_, _, _, err = backend.Update(ctx, name, []byte(value), known.ModRevision, 0)
	}
	if err != nil {
		tb.Fatalf("write %s: %v", name, err)
	}
}

func compareLists(ctx context.Context, t *testing.T, backend *Backend, key, end string, limit, revision int64, includeDeleted, keysOnly bool) int {
	t.Helper()
	want, wantErr := backend.log.SQLLog.List(ctx, key, end, limit, revision, includeDeleted, keysOnly)
	got, err := backend.log.List(ctx, key, end, limit, revision, includeDeleted, keysOnly)
	what := fmt.Sprintf("list %q to %q, limit %d, revision %d, deleted %v, only keys %v", key, end, limit, revision, includeDeleted, keysOnly)
	if !errors.Is(err, wantErr) {
		t.Fatalf("%s: %v, want %v", what, err, wantErr)
	}
	if err == nil {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s (-kine +got):\n%s", what, diff)
		}
	}
	return len(got.Events)
}

// TestCutListIsAnError: a list whose reading ends before its last row is not taken for a whole one, which would look as if what is missing
// had been deleted.
func TestCutListIsAnError(t *testing.T) {
	backend, ctx := openLog(t)
	change(ctx, t, backend, "/a", "value", false)
	rows, err := backend.log.dialect.DB.QueryContext(ctx, `
		SELECT 9, 0, id, name, created, deleted, create_revision, prev_revision, lease, value, NULL FROM kine WHERE name = '/a'
		UNION ALL SELECT 9, 0, id, name, created, deleted, create_revision, prev_revision, lease, json(value), NULL FROM kine WHERE name = '/a'`)
	if err != nil {
		t.Fatal(err)
	}
	batch, _, err := readList(rows)
	if err == nil {
		t.Errorf("a list that could not be read is %d objects and no error", len(batch.Events))
	}
}

// BenchmarkList is of one key, of one object of a kind, as an API server asks for the current revision, and of all, among 2,000 objects of
// 2 KiB that were changed a few times each.
func BenchmarkList(b *testing.B) {
	backend, ctx := openLog(b)
	value := string(make([]byte, 2048))
	for range 5 {
		for index := range 2000 {
			change(ctx, b, backend, fmt.Sprintf("/registry/spaces/%d", index), value, false)
		}
	}
	for name, what := range map[string]struct {
		key, end string
		limit    int64
	}{
		"key": {key: "/registry/spaces/1000"},
		"one": {"/registry/spaces/", "/registry/spaces0", 2},
		"all": {"/registry/spaces/", "/registry/spaces0", 0},
	} {
		for of, list := range map[string]func(context.Context, string, string, int64, int64, bool, bool) (server.EventBatch, error){
			"kine": backend.log.SQLLog.List, "ours": backend.log.List,
		} {
			b.Run(name+"/"+of, func(b *testing.B) {
				for b.Loop() {
					if _, err := list(ctx, what.key, what.end, what.limit, 0, false, false); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
