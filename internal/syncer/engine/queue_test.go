package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

const (
	kindNormal = iota
	kindPod
	kindLate
)

func testQueue(perTenant int, tenants ...types.UID) *queue {
	q := newQueue(perTenant, func(kind int) Lane { return []Lane{LaneNormal, LaneFirst, LaneLast}[kind] })
	for _, tenant := range tenants {
		q.open(tenant)
		q.hold(tenant, false)
	}
	return q
}

func key(kind int, name string) work { return work{kind: kind, key: Key{Name: name}} }

// take must not block: the test says that there is work.
func takeOne(t *testing.T, q *queue) item {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	it, ok := q.take()
	if !ok {
		t.Fatal("there is no work")
	}
	return it
}

func takeNone(t *testing.T, q *queue) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if it, ok := q.take(); ok {
		t.Fatalf("got %v, want none", it)
	}
}

func TestQueueServesTenantsInTurn(t *testing.T) {
	q := testQueue(10, "a", "b")
	for index := range 3 {
		q.add("a", key(kindNormal, fmt.Sprint(index)))
	}
	q.add("b", key(kindNormal, "0"))
	var got []string
	for range 4 {
		it := takeOne(t, q)
		got = append(got, string(it.tenant)+it.key.Name)
	}
	if diff := cmp.Diff([]string{"a0", "b0", "a1", "a2"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// TestQueueServesTenantsByWeight: who has weight 3 gets three pieces a turn, none kept for later, and does not hold up the others when it
// has no more.
func TestQueueServesTenantsByWeight(t *testing.T) {
	q := testQueue(10, "a", "b", "c")
	q.weigh("a", 3)
	for index := range 4 {
		for _, tenant := range []types.UID{"a", "b", "c"} {
			q.add(tenant, key(kindNormal, fmt.Sprint(index)))
		}
	}
	var got []string
	for range 12 {
		it := takeOne(t, q)
		got = append(got, string(it.tenant)+it.key.Name)
	}
	want := []string{"a0", "a1", "a2", "b0", "c0", "a3", "b1", "c1", "b2", "c2", "b3", "c3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	takeNone(t, q)
	q.weigh("a", 1)
	for index := range 2 {
		q.add("a", key(kindNormal, fmt.Sprint("again", index)))
	}
	q.add("b", key(kindNormal, "again"))
	for _, want := range []types.UID{"a", "b", "a"} {
		if it := takeOne(t, q); it.tenant != want {
			t.Errorf("%s is served, want %s", it.tenant, want)
		}
	}
}

func TestQueueServesPodsFirst(t *testing.T) {
	q := testQueue(10, "a")
	q.add("a", key(kindLate, "event"))
	q.add("a", key(kindNormal, "service"))
	q.add("a", key(kindPod, "pod"))
	var got []string
	for range 3 {
		got = append(got, takeOne(t, q).key.Name)
	}
	if diff := cmp.Diff([]string{"pod", "service", "event"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// TestQueueTellsNewsBesideNewPods: what the host has told of pods does not wait for all those that are not made yet, nor these for it.
func TestQueueTellsNewsBesideNewPods(t *testing.T) {
	q := testQueue(10, "a")
	news := cause{host: time.Now()}
	for _, name := range []string{"new 1", "new 2", "waits"} {
		q.add("a", key(kindPod, name))
	}
	q.addFor("a", key(kindNormal, "service"), news)
	for _, name := range []string{"ready", "waits", "ready", "running"} { // one that waits already has its place among the news
		q.addFor("a", key(kindPod, name), news)
	}
	var got []string
	for range 6 {
		got = append(got, takeOne(t, q).key.Name)
	}
	takeNone(t, q)
	if diff := cmp.Diff([]string{"new 1", "ready", "new 2", "waits", "running", "service"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// TestQueueServesOthersBesidePods: pods that never end to change do not keep a tenant's other objects from their turn, nor its new pods.
func TestQueueServesOthersBesidePods(t *testing.T) {
	q := testQueue(1000, "a")
	for index := range 200 {
		q.addFor("a", key(kindPod, fmt.Sprint(index)), cause{host: time.Now()})
	}
	q.add("a", key(kindPod, "new"))
	q.add("a", key(kindNormal, "service"))
	q.add("a", key(kindLate, "event"))
	at := map[string]int{}
	for index := range 100 {
		at[takeOne(t, q).key.Name] = index + 1
	}
	for name, latest := range map[string]int{"new": 2, "service": othersEvery, "event": 2 * othersEvery} {
		if at[name] == 0 || at[name] > latest {
			t.Errorf("%s came at place %d", name, at[name])
		}
	}
}

func TestQueueLimitsWorkersOfATenant(t *testing.T) {
	q := testQueue(2, "a", "b")
	for index := range 3 {
		q.add("a", key(kindNormal, fmt.Sprint(index)))
	}
	first := takeOne(t, q)
	takeOne(t, q)
	takeNone(t, q)
	q.add("b", key(kindNormal, "0"))
	if it := takeOne(t, q); it.tenant != "b" {
		t.Errorf("got work of %q although only b may have a worker", it.tenant)
	}
	q.done(first, 0)
	if it := takeOne(t, q); it.key.Name != "2" {
		t.Errorf("got %q after a worker was free, want 2", it.key.Name)
	}
}

func TestQueueHasNoKeyTwice(t *testing.T) {
	q := testQueue(10, "a")
	w := key(kindNormal, "x")
	q.add("a", w)
	q.add("a", w)
	it := takeOne(t, q)
	takeNone(t, q)
	q.add("a", w) // while it is worked on: it must come again, but not at the same time
	takeNone(t, q)
	q.done(it, 0)
	q.done(takeOne(t, q), 0)
	takeNone(t, q)
}

func TestQueueHeldTenantKeepsItsWork(t *testing.T) {
	q := testQueue(10, "a")
	q.hold("a", true)
	q.add("a", key(kindNormal, "x"))
	takeNone(t, q)
	q.hold("a", false)
	takeOne(t, q)
}

func TestQueueDelayedWorkComesOnceAndSooner(t *testing.T) {
	q := testQueue(10, "a")
	w := key(kindNormal, "x")
	q.addAfter("a", w, time.Hour)
	takeNone(t, q)
	q.add("a", w)
	q.done(takeOne(t, q), time.Millisecond)
	got := make(chan item)
	go func() {
		it, _ := q.get()
		got <- it
	}()
	select {
	case it := <-got:
		q.done(it, 0)
	case <-time.After(10 * time.Second):
		t.Fatal("delayed work did not come")
	}
	takeNone(t, q)
}

func TestQueueDropWaitsForWorkAndForgetsTheRest(t *testing.T) {
	q := testQueue(10, "a")
	q.add("a", key(kindNormal, "x"))
	q.add("a", key(kindNormal, "y"))
	it := takeOne(t, q)
	dropped := make(chan struct{})
	go func() {
		q.drop("a")
		close(dropped)
	}()
	select {
	case <-dropped:
		t.Fatal("drop did not wait for the work that is done")
	case <-time.After(20 * time.Millisecond):
	}
	q.done(it, 0)
	<-dropped
	takeNone(t, q)
	q.add("a", key(kindNormal, "z"))
	takeNone(t, q)
}

func TestQueueBlockedTenantDelaysNobody(t *testing.T) {
	q := testQueue(4, "dead", "alive")
	for index := range 8 {
		q.add("dead", key(kindNormal, fmt.Sprint(index)))
		q.add("alive", key(kindNormal, fmt.Sprint(index)))
	}
	q.block("dead", time.Hour)
	for range 4 {
		if it := takeOne(t, q); it.tenant != "alive" {
			t.Errorf("got work of the blocked tenant")
		}
	}
	takeNone(t, q)
	q.unblock(q.tenants["dead"])
	if it := takeOne(t, q); it.tenant != "dead" {
		t.Errorf("got work of %q, want the first try of the blocked tenant", it.tenant)
	}
	takeNone(t, q) // one worker tries
	if q.faster("dead") {
		t.Error("the tenant has all workers after one quick call")
	}
	for !q.faster("dead") {
	}
	takeOne(t, q)
}

// TestQueueSlowTenantLosesWorkers: a round of slow calls halves a tenant's workers once; quick calls give them back.
func TestQueueSlowTenantLosesWorkers(t *testing.T) {
	q := testQueue(16, "slow")
	began := time.Now()
	for range 16 {
		q.slower("slow", began)
	}
	if limit := q.tenants["slow"].limit; limit != 8 {
		t.Errorf("after one round of slow calls: %d workers, want 8", limit)
	}
	for range 10 {
		q.slower("slow", time.Now())
	}
	if limit := q.tenants["slow"].limit; limit != q.least() {
		t.Errorf("after many rounds of slow calls: %d workers, want %d", limit, q.least())
	}
	quick := 1
	for ; !q.faster("slow"); quick++ {
		if quick > 100 {
			t.Fatal("the workers do not come back")
		}
	}
	if quick != 12 {
		t.Errorf("the workers were back after %d quick calls, want 12", quick)
	}
}

// TestQueueSlowTenantHasRoomForOthers: pods that a slow API server keeps waiting leave workers to the tenant's other objects.
func TestQueueSlowTenantHasRoomForOthers(t *testing.T) {
	q := testQueue(16, "slow")
	for range 10 {
		q.slower("slow", time.Now())
	}
	for index := range 20 {
		q.add("slow", key(kindPod, fmt.Sprint(index)))
	}
	pods := []item{takeOne(t, q), takeOne(t, q)}
	takeNone(t, q)
	q.add("slow", key(kindNormal, "service"))
	q.add("slow", key(kindLate, "event"))
	for _, want := range []string{"service", "event"} {
		if it := takeOne(t, q); it.key.Name != want {
			t.Errorf("got %q, want %q", it.key.Name, want)
		}
	}
	q.done(pods[0], 0)
	if it := takeOne(t, q); it.kind != kindPod {
		t.Errorf("got %q", it.key.Name)
	}
}

func TestBackOffGrowsToALimit(t *testing.T) {
	last := time.Duration(0)
	for failures := 1; failures < 100; failures++ {
		delay := backOff(failures, retryFirst)
		if delay < last || delay > retryLast || delay <= 0 {
			t.Fatalf("after %d failures the delay is %s, before it was %s", failures, delay, last)
		}
		last = delay
	}
	if last != retryLast {
		t.Errorf("the longest delay is %s, want %s", last, retryLast)
	}
}
