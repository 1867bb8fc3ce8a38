package shards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// linger is how long work may take to end after it was told to: less than others wait between the end of a replica's time
// and their taking over.
const linger = time.Second

// pass lets time pass, which costs none here: a test in a bubble has a clock of its own.
func pass(duration time.Duration) { <-time.After(duration) }

// fleet is several replicas that work on one virtual cluster of each shard, as much as they are let.
type fleet struct {
	t      *testing.T
	server *server
	uids   [Count]types.UID
	made   int

	mu sync.Mutex
	// The following are protected by mu.
	random  *rand.Rand
	working [Count]map[*replica]bool
	running map[string]*replica
}

type replica struct {
	name   string
	link   *link
	shards *Shards
	stop   context.CancelFunc
	ended  chan struct{}
	isDead bool // protected by fleet.mu; its work counts no more
}

func newFleet(t *testing.T, seed uint64) *fleet {
	f := &fleet{t: t, server: newServer(seed), random: rand.New(rand.NewPCG(seed, 2)), running: map[string]*replica{}}
	for number := 0; slices.Contains(f.uids[:], ""); number++ {
		uid := types.UID(fmt.Sprintf("virtual-cluster-%d", number))
		f.uids[Of(uid)] = uid
	}
	for shard := range f.working {
		f.working[shard] = map[*replica]bool{}
	}
	return f
}

func (f *fleet) number(below int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.IntN(below)
}

func (f *fleet) add() *replica {
	f.made++
	return f.start(fmt.Sprintf("agent-%d", f.made))
}

func (f *fleet) start(name string) *replica {
	r := &replica{name: name, link: f.server.link(), ended: make(chan struct{})}
	var err error
	if r.shards, err = New(Options{Client: r.link, Name: name, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	var group sync.WaitGroup
	for shard := range Count {
		group.Go(func() { f.work(ctx, r, shard) })
	}
	f.mu.Lock()
	f.running[name] = r
	f.mu.Unlock()
	go func() {
		defer close(r.ended)
		if err := r.shards.Run(ctx); err != nil {
			f.t.Errorf("%s ended: %v", name, err)
		}
		group.Wait()
	}()
	return r
}

// work does something for the virtual cluster of a shard, whenever it may.
func (f *fleet) work(ctx context.Context, r *replica, shard int) {
	for ctx.Err() == nil {
		work, leave, ok := r.shards.Enter(ctx, f.uids[shard])
		if !ok {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		f.begin(r, shard)
		<-work.Done()
		pass(time.Duration(f.number(int(linger))))
		f.finish(r, shard)
		leave()
	}
}

func (f *fleet) begin(r *replica, shard int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.isDead {
		return
	}
	if len(f.working[shard]) > 0 {
		f.t.Errorf("%s works on shard %d while others do: %v", r.name, shard, namesOf(f.working[shard]))
	}
	f.working[shard][r] = true
}

func (f *fleet) finish(r *replica, shard int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.working[shard], r)
}

// kill ends a replica as a loss of power does.
func (f *fleet) kill(r *replica) {
	r.link.cut(true)
	f.mu.Lock()
	r.isDead = true
	for _, working := range &f.working {
		delete(working, r)
	}
	delete(f.running, r.name)
	f.mu.Unlock()
	r.stop()
}

// end ends a replica cleanly.
func (f *fleet) end(r *replica) {
	f.mu.Lock()
	delete(f.running, r.name)
	f.mu.Unlock()
	r.stop()
	<-r.ended
}

func (f *fleet) some() *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.Sorted(maps.Keys(f.running))
	if len(names) == 0 {
		return nil
	}
	return f.running[names[f.random.IntN(len(names))]]
}

func namesOf(replicas map[*replica]bool) (names []string) {
	for r := range replicas {
		names = append(names, r.name)
	}
	return names
}

// settled tells what is not as it should be when nothing happens any more.
func (f *fleet) settled() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	share := map[string]int{}
	for shard, working := range &f.working {
		if len(working) != 1 {
			return fmt.Errorf("on shard %d work %v", shard, namesOf(working))
		}
		for r := range working {
			share[r.name]++
		}
	}
	for name := range f.running {
		if share[name] != fairShare(name, slices.Collect(maps.Keys(f.running))) {
			return fmt.Errorf("the shares are %v", share)
		}
	}
	return nil
}

// settle waits until all is as it should be, and returns how long that took.
func (f *fleet) settle(most time.Duration) time.Duration {
	f.t.Helper()
	begin := time.Now()
	for {
		err := f.settled()
		if err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > most {
			f.print()
			f.endAll() // or the goroutines that are left hide the error
			f.t.Fatalf("after %s: %v", most, err)
		}
		pass(10 * time.Millisecond)
	}
}

// print shows what every replica knows.
func (f *fleet) print() {
	for _, name := range slices.Sorted(maps.Keys(f.running)) {
		r := f.running[name]
		seen, isKnown := r.shards.view.now()
		_, isValid := r.shards.validity()
		serving, leaving, left := r.shards.state()
		f.t.Logf("%s: known %t, valid %t, serving %v, leaving %v, left %v, live %v, dead %v, table %v",
			name, isKnown, isValid, serving, leaving, left, seen.live, seen.dead, seen.table.holders)
	}
}

func (f *fleet) endAll() {
	for r := f.some(); r != nil; r = f.some() {
		f.end(r)
	}
}

// TestNeverTwo: whatever happens to replicas and their links, no two of them work on one virtual cluster; and when nothing
// happens any more all virtual clusters are served, in fair shares.
func TestNeverTwo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, seed)
				f.add()
				for range 30 {
					f.happen()
					pass(time.Duration(f.number(int(6 * time.Second))))
				}
				f.mu.Lock()
				for _, r := range f.running {
					r.link.cut(false)
				}
				f.mu.Unlock()
				if f.some() == nil {
					f.add()
				}
				f.settle(30 * time.Second)
				f.endAll()
			})
		})
	}
}

// happen does one thing to one replica.
func (f *fleet) happen() {
	r := f.some()
	if r == nil {
		f.add()
		return
	}
	switch f.number(8) {
	case 0, 1:
		if f.made < 12 {
			f.add()
		}
	case 2:
		f.kill(r)
	case 3:
		isCut, _ := r.link.state()
		if !isCut {
			f.end(r)
		}
	case 4, 5:
		r.link.cut(true)
	case 6:
		r.link.cut(false)
	case 7: // the container of a pod ends and starts again
		f.kill(r)
		f.start(r.name)
	}
}

// TestTakeover measures how long virtual clusters are without a replica, apart from what the work itself takes to end.
func TestTakeover(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		happen func(f *fleet, r *replica)
		least  time.Duration
		most   time.Duration
	}{
		"killed":    {(*fleet).kill, expireAfter - renewEvery - time.Second, 10 * time.Second},
		"ended":     {(*fleet).end, 0, 2 * time.Second},
		"cut off":   {func(f *fleet, r *replica) { r.link.cut(true); delete(f.running, r.name) }, expireAfter - renewEvery - time.Second, 10 * time.Second},
		"restarted": {func(f *fleet, r *replica) { f.kill(r); f.start(r.name) }, 0, 2 * time.Second},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				victim := f.add()
				f.add()
				f.settle(10 * time.Second)
				pass(time.Duration(f.number(int(10 * time.Second))))
				test.happen(f, victim)
				took := f.settle(test.most)
				t.Logf("served again after %s", took)
				if took < test.least {
					t.Errorf("taken over after %s already", took)
				}
				f.endAll()
				victim.stop()
				<-victim.ended
			})
		})
	}
}

// TestOutageOfTheServer: when nobody can renew nobody takes anything from anybody, and all go on afterwards.
func TestOutageOfTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		for range 3 {
			f.add()
		}
		f.settle(10 * time.Second)
		before := f.tables()
		for _, r := range f.running {
			r.link.cut(true)
		}
		pass(time.Minute)
		if f.settled() == nil {
			t.Error("work goes on without the server")
		}
		for _, r := range f.running {
			r.link.cut(false)
		}
		f.settle(10 * time.Second)
		if after := f.tables(); !maps.EqualFunc(before.holders, after.holders, slices.Equal) {
			t.Errorf("shards moved: from %v to %v", before.holders, after.holders)
		}
		f.endAll()
	})
}

func (f *fleet) tables() table {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	read, err := parseTable(f.server.leases[TableName])
	if err != nil {
		f.t.Error(err)
	}
	return read
}

// TestNothingIsLeftBehind: Leases of those that are gone are deleted, by themselves or by others.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		victim, idle, last := f.add(), f.add(), f.add()
		f.settle(10 * time.Second)
		f.kill(victim)
		f.end(idle)
		f.settle(10 * time.Second)
		pass(time.Second)
		f.server.mu.Lock()
		names := slices.Sorted(maps.Keys(f.server.leases))
		f.server.mu.Unlock()
		if want := []string{last.name, TableName}; !slices.Equal(names, want) {
			t.Errorf("there are Leases %v, want %v", names, want)
		}
		f.endAll()
		<-victim.ended
	})
}

// TestTableIsDeleted: whoever deletes the table costs a moment and no more.
func TestTableIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		only := f.add()
		f.settle(10 * time.Second)
		for _, name := range []string{TableName, only.name} {
			for only.link.Delete(t.Context(), name, deleteNow) != nil {
			}
			pass(3 * time.Second)
			f.settle(10 * time.Second)
		}
		f.endAll()
	})
}

// TestSameNameTwice: the older of two processes of one name gives way.
func TestSameNameTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := newServer(1)
		run := func() (ended chan error, stop context.CancelFunc) {
			one, err := New(Options{Client: server.link(), Name: "agent", Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended = make(chan error, 1)
			go func() { ended <- one.Run(ctx) }()
			pass(5 * time.Second)
			return ended, stop
		}
		first, _ := run()
		second, stop := run()
		if err := <-first; !errors.Is(err, ErrReplaced) {
			t.Errorf("the first one ended with %v", err)
		}
		stop()
		if err := <-second; err != nil {
			t.Errorf("the second one ended with %v", err)
		}
	})
}
