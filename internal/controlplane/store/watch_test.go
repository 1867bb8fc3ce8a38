package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// eachStore runs a test with every store.
func eachStore(t *testing.T, test func(*testing.T, *clientv3.Client)) {
	t.Helper()
	for _, kind := range []config.StoreType{config.StoreSQLite, config.StoreMemory} {
		t.Run(string(kind), func(t *testing.T) {
			c := config.Store{Type: kind}
			if kind == config.StoreSQLite {
				c.Path = filepath.Join(t.TempDir(), "state.db")
			}
			_, client := open(t, c)
			test(t, client)
		})
	}
}

// rawWatch is a stream that the test reads itself: etcd's client takes everything at once into its own memory.
func rawWatch(t *testing.T, client *clientv3.Client) etcdserverpb.Watch_WatchClient {
	t.Helper()
	stream, err := etcdserverpb.NewWatchClient(client.ActiveConnection()).Watch(t.Context(), grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func createWatch(t *testing.T, stream etcdserverpb.Watch_WatchClient, prefix string, start int64) int64 {
	t.Helper()
	err := stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{
			Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix)), StartRevision: start, PrevKv: true,
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil || !response.GetCreated() || response.GetCanceled() {
		t.Fatalf("create a watch: %v, %v", response, err)
	}
	return response.GetWatchId()
}

func askProgress(t *testing.T, stream etcdserverpb.Watch_WatchClient) {
	t.Helper()
	err := stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_ProgressRequest{ProgressRequest: &etcdserverpb.WatchProgressRequest{}}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSlowWatchLosesNothing: a watch that reads nothing while 10,000 writes come gets them all, in order, and the store does not
// keep them in memory for it.
func TestSlowWatchLosesNothing(t *testing.T) {
	const writes, valueBytes = 10_000, 4 << 10
	_, client := open(t, config.Store{Type: config.StoreSQLite, Path: filepath.Join(t.TempDir(), "state.db")})
	slow := rawWatch(t, client)
	createWatch(t, slow, "/registry/slow/", 0)

	before := heap()
	writeMany(t, client, "/registry/slow/", writes, valueBytes)
	// Had it kept what was not read, that were 40 MiB.
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("the heap has grown by %d MiB while nobody read", grown>>20)
	}

	seen, last := 0, int64(0)
	for seen < writes {
		response, err := slow.Recv()
		if err != nil || response.GetCanceled() {
			t.Fatalf("after %d events: %v, %v", seen, response, err)
		}
		for _, event := range response.GetEvents() {
			if event.GetKv().GetModRevision() <= last {
				t.Fatalf("revision %d after %d", event.GetKv().GetModRevision(), last)
			}
			if len(event.GetKv().GetValue()) != valueBytes {
				t.Fatalf("a value of %d bytes", len(event.GetKv().GetValue()))
			}
			last = event.GetKv().GetModRevision()
			seen++
		}
	}
	askProgress(t, slow)
	response, err := slow.Recv()
	if err != nil || response.GetWatchId() != clientv3.InvalidWatchID || response.GetHeader().GetRevision() < last {
		t.Errorf("progress after revision %d: %v, %v", last, response, err)
	}
}

// TestProgressIsNotOlderThanAWatch: a watch that begins at a revision that is still to come is not told an older one.
func TestProgressIsNotOlderThanAWatch(t *testing.T) {
	eachStore(t, func(t *testing.T, client *clientv3.Client) {
		write := func(name string) int64 {
			isMade, revision, err := create(t.Context(), client, "/registry/ahead/"+name, "value")
			if err != nil || !isMade {
				t.Fatalf("create %s: %v, %v", name, isMade, err)
			}
			return revision
		}
		current := write("first")
		stream := rawWatch(t, client)
		createWatch(t, stream, "/registry/ahead/", current+3)
		askProgress(t, stream)
		write("second")
		write("third")
		response, err := stream.Recv()
		if err != nil || len(response.GetEvents()) > 0 || response.GetHeader().GetRevision() < current+2 {
			t.Errorf("the first response to a watch that begins at %d: %v, %v", current+3, response, err)
		}
	})
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// writeMany creates keys under the prefix by some clients at once.
func writeMany(t *testing.T, client *clientv3.Client, prefix string, count, valueBytes int) {
	t.Helper()
	const writers = 20
	value := string(make([]byte, valueBytes))
	var group sync.WaitGroup
	for writer := range writers {
		group.Go(func() {
			for i := writer; i < count; i += writers {
				if ok, _, err := create(t.Context(), client, fmt.Sprintf("%s%d", prefix, i), value); !ok || err != nil {
					t.Errorf("write %d: %v, %v", i, ok, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// TestProgressIsOfWhatAReaderSees: after writes at the same time, who reads the newest revision and asks a watch of other keys
// for its progress is told at least that revision. An API server that is told less ends with "Too large resource version".
func TestProgressIsOfWhatAReaderSees(t *testing.T) {
	eachStore(t, func(t *testing.T, client *clientv3.Client) {
		quiet := rawWatch(t, client)
		createWatch(t, quiet, "/registry/quiet/", 0)
		for round := range 50 {
			writeMany(t, client, fmt.Sprintf("/registry/loud/%d/", round), 20, 10)
			read, err := client.Get(t.Context(), "/registry/quiet/", clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			// Who waits for it asks again and again.
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			told := int64(0)
			for told < read.Header.Revision && ctx.Err() == nil {
				askProgress(t, quiet)
				response, err := quiet.Recv()
				if err != nil {
					t.Fatal(err)
				}
				told = response.GetHeader().GetRevision()
			}
			cancel()
			if told < read.Header.Revision {
				t.Fatalf("round %d: the progress is %d, a reader sees %d", round, told, read.Header.Revision)
			}
		}
	})
}

// TestWatchesFromTheMiddle: watches that begin at old revisions, on one stream with others, get exactly what is after them.
func TestWatchesFromTheMiddle(t *testing.T) {
	eachStore(t, func(t *testing.T, client *clientv3.Client) {
		const writes = 2000 // More than is kept in memory.
		first, err := client.Get(t.Context(), "/registry/x/", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		writeMany(t, client, "/registry/x/", writes, 10)
		ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.Pairs("source", "test")), timeout)
		defer cancel()
		var group sync.WaitGroup
		for _, skip := range []int{0, 1, 700, 1500, 1999} {
			start := first.Header.Revision + 1 + int64(skip)
			watch := client.Watch(ctx, "/registry/x/", clientv3.WithPrefix(), clientv3.WithRev(start), clientv3.WithPrevKV())
			group.Go(func() {
				for want := start; want < start+int64(writes-skip)+10; {
					response, ok := <-watch
					if !ok || response.Err() != nil {
						t.Errorf("a watch from %d ended at %d: %v", start, want, response.Err())
						return
					}
					for _, event := range response.Events {
						if event.Kv.ModRevision != want {
							t.Errorf("a watch from %d was sent %d, not %d", start, event.Kv.ModRevision, want)
							return
						}
						want++
					}
				}
			})
		}
		writeMany(t, client, "/registry/x/more/", 10, 10)
		group.Wait()
	})
}

// TestWatchOfWhatIsForgotten ends with the revision that is compacted; a watch after that is told what was before, however old.
func TestWatchOfWhatIsForgotten(t *testing.T) {
	eachStore(t, func(t *testing.T, client *clientv3.Client) {
		_, created, err := create(t.Context(), client, "/registry/old", "1")
		if err != nil {
			t.Fatal(err)
		}
		writeMany(t, client, "/registry/other/", 1100, 10) // So many are always kept.
		ok, changed, err := updateAt(t.Context(), client, "/registry/old", "2", created)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		forgotten := created + 20
		if _, err := client.Compact(t.Context(), forgotten); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		response := <-client.Watch(ctx, "/registry/old", clientv3.WithRev(created))
		if !errors.Is(response.Err(), rpctypes.ErrCompacted) || response.CompactRevision != forgotten {
			t.Errorf("got %v, compacted %d, want %d", response.Err(), response.CompactRevision, forgotten)
		}
		response = <-client.Watch(ctx, "/registry/old", clientv3.WithRev(forgotten+1), clientv3.WithPrevKV())
		if len(response.Events) != 1 || response.Events[0].Kv.ModRevision != changed {
			t.Fatalf("after what is forgotten: %v, %v", response.Events, response.Err())
		}
		if previous := response.Events[0].PrevKv; previous == nil || string(previous.Value) != "1" {
			t.Errorf("what was before: %v", previous)
		}
	})
}

// TestCancelledWatchEnds: nothing comes after the answer to the cancellation, and other watches of the stream go on.
func TestCancelledWatchEnds(t *testing.T) {
	eachStore(t, func(t *testing.T, client *clientv3.Client) {
		stream := rawWatch(t, client)
		one := createWatch(t, stream, "/registry/one/", 0)
		two := createWatch(t, stream, "/registry/", 0)
		err := stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CancelRequest{
			CancelRequest: &etcdserverpb.WatchCancelRequest{WatchId: one},
		}})
		if err != nil {
			t.Fatal(err)
		}
		response, err := stream.Recv()
		if err != nil || !response.GetCanceled() || response.GetWatchId() != one {
			t.Fatalf("the answer to the cancellation: %v, %v", response, err)
		}
		writeMany(t, client, "/registry/one/", 1, 1)
		response, err = stream.Recv()
		if err != nil || response.GetWatchId() != two || len(response.GetEvents()) != 1 {
			t.Errorf("after the cancellation: %v, %v", response, err)
		}
	})
}

// TestDeletionIsToldWithWhatWasThere: an API server needs the value of what was deleted.
func TestDeletionIsToldWithWhatWasThere(t *testing.T) {
	eachStore(t, func(t *testing.T, client *clientv3.Client) {
		_, revision, err := create(t.Context(), client, "/registry/gone", "value")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		watch := client.Watch(ctx, "/registry/gone", clientv3.WithRev(revision), clientv3.WithPrevKV())
		removed, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("/registry/gone"), "=", revision)).
			Then(clientv3.OpDelete("/registry/gone")).Else(clientv3.OpGet("/registry/gone")).Commit()
		if err != nil || !removed.Succeeded {
			t.Fatal(removed, err)
		}
		var events []*clientv3.Event
		for len(events) < 2 {
			response, ok := <-watch
			if !ok || response.Err() != nil {
				t.Fatal(response.Err())
			}
			events = append(events, response.Events...)
		}
		if !events[0].IsCreate() || events[1].Type != clientv3.EventTypeDelete || string(events[1].PrevKv.Value) != "value" {
			t.Errorf("got %v", events)
		}
		if events[1].Kv.ModRevision != removed.Header.Revision || events[1].PrevKv.CreateRevision != revision {
			t.Errorf("revisions %d, created at %d; want %d and %d", events[1].Kv.ModRevision, events[1].PrevKv.CreateRevision, removed.Header.Revision, revision)
		}
	})
}
