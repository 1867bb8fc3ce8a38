// Package integration tests package shards against a real API server: its conflicts, its watches, its preconditions.
package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const namespace = "default"

// budget is how long a virtual cluster may be without a replica after one is lost.
const budget = 10 * time.Second

// fleet is some replicas that work on virtual clusters, one for each shard.
type fleet struct {
	config *rest.Config
	uids   []types.UID

	mu sync.Mutex
	// The following are protected by mu.
	working map[types.UID]string // who works on it
	both    []string             // when two did
}

// replica is one of them. What it sends can be held up, as a broken network does.
type replica struct {
	name   string
	isCut  atomic.Bool
	shards *shards.Shards
	stop   context.CancelFunc
	ended  chan struct{}
	err    error
}

var errNoNetwork = errors.New("no route to host")

type cuttable struct {
	next http.RoundTripper
	of   *replica
}

func (c cuttable) RoundTrip(request *http.Request) (*http.Response, error) {
	if c.of.isCut.Load() {
		return nil, errNoNetwork
	}
	return c.next.RoundTrip(request)
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{config: testenv.StartHost(t), working: map[types.UID]string{}}
	seen := map[int]bool{}
	for number := 0; len(f.uids) < shards.Count; number++ {
		uid := types.UID(fmt.Sprintf("virtual-cluster-%d", number))
		if !seen[shards.Of(uid)] {
			seen[shards.Of(uid)] = true
			f.uids = append(f.uids, uid)
		}
	}
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.both) > 0 {
			t.Errorf("two replicas worked on one virtual cluster: %v", f.both)
		}
	})
	return f
}

func (f *fleet) start(t *testing.T, name string) *replica {
	t.Helper()
	r := &replica{name: name, ended: make(chan struct{})}
	config := rest.CopyConfig(f.config)
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return cuttable{next, r} })
	client, err := typedcoordinationv1.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	r.shards, err = shards.New(shards.Options{Client: client.Leases(namespace), Name: name, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	gained := make(chan struct{}, 1)
	r.shards.Follow(func(func(types.UID) bool) {
		select {
		case gained <- struct{}{}:
		default:
		}
	})
	var group sync.WaitGroup
	group.Go(func() { r.err = r.shards.Run(ctx) })
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-gained:
			}
			for _, uid := range f.uids {
				if work, leave, ok := r.shards.Enter(ctx, uid); ok {
					group.Go(func() { f.work(work, leave, r, uid) })
				}
			}
		}
	})
	go func() {
		group.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		stop()
		<-r.ended
	})
	return r
}

// work is done for a virtual cluster until it is lost. A second piece of work of the same replica is none.
func (f *fleet) work(ctx context.Context, leave func(), r *replica, uid types.UID) {
	defer leave()
	f.mu.Lock()
	other, isBusy := f.working[uid]
	if isBusy && other != r.name {
		f.both = append(f.both, fmt.Sprintf("%s: %s and %s", uid, other, r.name))
	}
	f.working[uid] = r.name
	f.mu.Unlock()
	if isBusy && other == r.name {
		return
	}
	<-ctx.Done()
	f.mu.Lock()
	delete(f.working, uid)
	f.mu.Unlock()
}

// served waits until exactly these replicas serve everything in fair shares, and returns how long that took.
func (f *fleet) served(t *testing.T, most time.Duration, by ...string) time.Duration {
	t.Helper()
	begin := time.Now()
	var share map[string]int
	for time.Since(begin) < most {
		share = f.shares()
		isServed := true
		total := 0
		for _, name := range by {
			isServed = isServed && share[name] >= shards.Count/len(by) && share[name] <= shards.Count/len(by)+1
			total += share[name]
		}
		if isServed && total == shards.Count {
			return time.Since(begin)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatalf("after %s the shares are %v, not those of %v", most, share, by)
	return 0
}

// stopped waits until a replica serves nothing.
func (f *fleet) stopped(t *testing.T, name string) {
	t.Helper()
	for begin := time.Now(); f.shares()[name] > 0; <-time.After(5 * time.Millisecond) {
		if time.Since(begin) > budget {
			t.Fatalf("after %s it still serves: %v", time.Since(begin), f.shares())
		}
	}
}

// left waits until no Leases but these are left: who takes over deletes that of the other only after it has written the table.
func (f *fleet) left(t *testing.T, want ...string) {
	t.Helper()
	for begin := time.Now(); ; <-time.After(5 * time.Millisecond) {
		names := f.leases(t)
		if slices.Equal(names, want) {
			return
		}
		if time.Since(begin) > budget {
			t.Fatalf("after %s there are Leases %v, want %v", time.Since(begin), names, want)
		}
	}
}

func (f *fleet) shares() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	share := map[string]int{}
	for _, name := range f.working {
		share[name]++
	}
	return share
}

func (f *fleet) leases(t *testing.T) (names []string) {
	t.Helper()
	client, err := typedcoordinationv1.NewForConfig(f.config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.Leases(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "matryoshka.dev/shards"})
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range list.Items {
		names = append(names, lease.Name)
	}
	slices.Sort(names)
	return names
}

func TestTakeover(t *testing.T) {
	f := newFleet(t)
	a := f.start(t, "a")
	t.Logf("one replica serves after %s", f.served(t, budget, "a"))
	b := f.start(t, "b")
	t.Logf("two replicas share after %s", f.served(t, budget, "a", "b"))
	f.start(t, "c")
	t.Logf("three replicas share after %s", f.served(t, budget, "a", "b", "c"))

	// A clean end hands over without waiting for anything.
	b.stop()
	took := f.served(t, time.Second, "a", "c")
	t.Logf("after a clean end of one, the others serve after %s", took)
	<-b.ended
	if b.err != nil {
		t.Errorf("it ended with %v", b.err)
	}

	// One that is cut off stops by itself, while the other does not serve its virtual clusters yet: newFleet checks that.
	begin := time.Now()
	a.isCut.Store(true)
	f.stopped(t, "a")
	t.Logf("one that is cut off stopped after %s", time.Since(begin))
	f.served(t, budget, "c")
	took = time.Since(begin)
	t.Logf("the other has taken over after %s", took)
	if took > budget {
		t.Errorf("taken over after %s only", took)
	}

	// It comes back, and gets its share again.
	a.isCut.Store(false)
	f.served(t, budget, "a", "c")

	// A loss of power: nothing is handed over, and it never comes back.
	begin = time.Now()
	a.isCut.Store(true)
	a.stop()
	f.served(t, budget, "c")
	took = time.Since(begin)
	t.Logf("after the loss of one the other has taken over after %s", took)
	if took > budget {
		t.Errorf("taken over after %s only", took)
	}
	f.left(t, "c", shards.TableName)
}

// TestNextProcessOfAPod: a container that has crashed and was started again goes on at once.
func TestNextProcessOfAPod(t *testing.T) {
	f := newFleet(t)
	a := f.start(t, "a")
	f.served(t, budget, "a")
	a.isCut.Store(true)
	a.stop()
	begin := time.Now()
	f.stopped(t, "a")
	f.start(t, "a")
	f.served(t, 2*time.Second, "a")
	t.Logf("the next process serves after %s", time.Since(begin))
}
