package engine

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// notAnswered takes a key and gives it back without an answer.
func notAnswered(t *testing.T, q *queue) {
	t.Helper()
	it := takeOne(t, q)
	q.setUnanswered(it)
	q.done(it, 0)
}

// due makes the unanswered keys of a kind due.
func due(q *queue, tenant types.UID, kind int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.tenants[tenant].unanswered[kind]
	u.next = time.Time{}
	q.awaitProbe(q.tenants[tenant], u)
}

func TestQueueKeepsUnansweredKeysApart(t *testing.T) {
	q := testQueue(8, "a")
	for index := range 6 {
		q.add("a", key(kindPod, fmt.Sprint(index)))
		notAnswered(t, q)
	}
	takeNone(t, q) // they come by time
	if waiting := q.unansweredKeys(); waiting != 6 {
		t.Errorf("%d keys are unanswered, want 6", waiting)
	}
	if !q.idle() {
		t.Error("what comes later by itself counts as work")
	}
	q.add("a", key(kindPod, "0")) // woken by a change: it still waits for its turn
	takeNone(t, q)
	q.add("a", key(kindNormal, "service"))
	if it := takeOne(t, q); it.key.Name != "service" || it.isProbe || it.isOfSlow {
		t.Errorf("got %+v, want the service", it)
	}

	due(q, "a", kindPod)
	probe := takeOne(t, q)
	if probe.key.Name != "0" || !probe.isProbe || !probe.isOfSlow {
		t.Errorf("got %+v, want the first pod as a probe", probe)
	}
	takeNone(t, q)
	q.setUnanswered(probe)
	q.done(probe, 0)
	due(q, "a", kindPod)
	if probe = takeOne(t, q); probe.key.Name != "1" {
		t.Errorf("got %q, want the next pod", probe.key.Name)
	}

	q.setAnswered(probe, true)
	q.done(probe, 0)
	for _, want := range []string{"2", "3", "4", "5", "0"} {
		if it := takeOne(t, q); it.key.Name != want || it.isProbe {
			t.Errorf("got %+v, want pod %s as an ordinary key", it, want)
		}
	}
	takeNone(t, q)
}

func TestQueueProbesEachKindByTime(t *testing.T) {
	q := testQueue(8, "a")
	for _, kind := range []int{kindPod, kindLate} {
		q.add("a", key(kind, "x"))
		notAnswered(t, q)
	}
	began := time.Now()
	got := map[int]bool{}
	for range 2 {
		it, ok := q.get() // blocks until it is time
		if !ok {
			t.Fatal("the queue is closed")
		}
		got[it.kind] = true
		q.setAnswered(it, true)
		q.done(it, 0)
	}
	if !got[kindPod] || !got[kindLate] {
		t.Errorf("probed %v, want both kinds", got)
	}
	if took := time.Since(began); took > 5*probeEvery {
		t.Errorf("the probes took %s", took)
	}
}

// TestQueueProbesAreFew: beside its ordinary keys a tenant has probes for half of its workers at most.
func TestQueueProbesAreFew(t *testing.T) {
	q := testQueue(4, "a")
	for index := range 8 {
		q.add("a", key(kindPod, fmt.Sprint(index)))
		q.add("a", key(kindLate, fmt.Sprint(index)))
	}
	for range 16 {
		notAnswered(t, q)
	}
	for range 2 {
		due(q, "a", kindPod)
		due(q, "a", kindLate)
	}
	first := takeOne(t, q)
	takeOne(t, q)
	due(q, "a", kindPod)
	due(q, "a", kindLate)
	takeNone(t, q)
	q.setUnanswered(first)
	q.done(first, 0)
	due(q, "a", first.kind)
	takeOne(t, q)
}

func TestQueueRecoveredTenantGoesOnAtOnce(t *testing.T) {
	q := testQueue(8, "a")
	for _, kind := range []int{kindPod, kindLate} {
		q.add("a", key(kind, "x"))
		notAnswered(t, q)
	}
	q.recovered("a")
	for range 2 {
		if it := takeOne(t, q); it.isProbe {
			t.Errorf("%+v is a probe", it)
		}
	}
}

// asker is a kind that asks the tenant's API server for the object of each key.
func asker(done func(*Scope, error)) Kind {
	return Kind{Name: "thing", Reconcile: func(ctx context.Context, scope *Scope, key Key) (Result, error) {
		err := scope.VirtualClient.Get(ctx, key.NamespacedName(), &corev1.ConfigMap{})
		done(scope, err)
		return Result{}, err
	}}
}

// serve adds a tenant to an engine that is not run, and returns its run.
func serve(t *testing.T, e *Engine, uid types.UID, url string) *tenantRun {
	t.Helper()
	run := &tenantRun{engine: e, uid: uid}
	run.turn.Store(&turn{serving: t.Context()})
	run.tenant.Store(&tenants.Tenant{ID: "x7k2p2q4", UID: uid, Namespace: "demo", Name: string(uid)})
	if err := run.connect(&rest.Config{Host: url}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.broadcaster.Shutdown)
	e.mu.Lock()
	e.running[uid] = run
	e.mu.Unlock()
	e.queue.open(uid)
	e.queue.hold(uid, false)
	return run
}

func runWorkers(t *testing.T, e *Engine, workers int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	for range workers {
		e.workers.Go(func() { e.worker(ctx) })
	}
	t.Cleanup(func() {
		e.queue.close()
		cancel()
		e.workers.Wait()
	})
}

func answerConfigMap(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"web"}}`)
}

// TestSlowTenantsHoldNobodyUp: however many tenants do not answer, and however many keys they have, the one that answers has
// workers, and the others get on again at once when they answer.
func TestSlowTenantsHoldNobodyUp(t *testing.T) {
	const slowTenants, workers = 30, 8
	var isSlow atomic.Bool
	isSlow.Store(true)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isSlow.Load() {
			<-r.Context().Done()
			return
		}
		answerConfigMap(w)
	}))
	defer slow.Close()
	quick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerConfigMap(w) }))
	defer quick.Close()

	var mu sync.Mutex
	answered := map[types.UID]int{}
	changed := make(chan struct{}, 1)
	e, err := New(&rest.Config{Host: "https://192.0.2.1"}, tenants.NewRegistry(), []Kind{asker(func(scope *Scope, err error) {
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answered[scope.Tenant.UID]++
		select {
		case changed <- struct{}{}:
		default:
		}
	})}, Options{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, within time.Duration, isDone func() bool) {
		t.Helper()
		timeout := time.After(within)
		for {
			mu.Lock()
			done := isDone()
			mu.Unlock()
			if done {
				return
			}
			select {
			case <-changed:
			case <-timeout:
				t.Fatalf("%s: not within %s; answered: %v", what, within, answered)
			}
		}
	}
	names := func(index int) work { return work{key: Key{Namespace: "web", Name: fmt.Sprint(index)}} }
	for index := range slowTenants {
		run := serve(t, e, types.UID(fmt.Sprintf("slow-%d", index)), slow.URL)
		for key := range 50 {
			e.queue.add(run.uid, names(key))
		}
	}
	serve(t, e, "quick", quick.URL)
	runWorkers(t, e, workers)
	// The worst moment: all workers are with tenants of whom nobody knows yet that they are slow. Parking takes them off one
	// after the other, sixteen of each tenant.
	const rounds = 20
	var slowest time.Duration
	for round := range rounds {
		began := time.Now()
		e.queue.add("quick", names(round))
		await("the quick tenant", 3*callTimeout, func() bool { return answered["quick"] == round+1 })
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("the slowest of %d keys of the quick tenant took %s, %d workers are parked", rounds, slowest, e.parked.Load())
	if slowest > 2*time.Second {
		t.Errorf("a key of the quick tenant took %s", slowest)
	}

	isSlow.Store(false)
	began := time.Now()
	await("the slow tenants after they recovered", 3*callTimeout, func() bool {
		for index := range slowTenants {
			if answered[types.UID(fmt.Sprintf("slow-%d", index))] < 50 {
				return false
			}
		}
		return true
	})
	t.Logf("all keys of the slow tenants were answered %s after they recovered", time.Since(began))
}

// TestWorkersAreParkedForTenantsOnly: what the host is slow with does not make more workers.
func TestWorkersAreParkedForTenantsOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		side Side
		want bool
	}{"Host": {Host, false}, "Virtual": {Virtual, true}} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{}
			parked := make(chan struct{})
			patience := 50 * time.Millisecond
			if tc.want {
				patience = 10 * time.Second
			}
			o := &observer{side: tc.side, next: roundTripFunc(func(*http.Request) (*http.Response, error) {
				// The time begins when it is known who is asked.
				defer a.keptWaiting(time.Millisecond, sync.OnceFunc(func() { close(parked) }))()
				select {
				case <-parked:
					if !tc.want {
						t.Error("parked while the host was asked")
					}
				case <-time.After(patience):
					if tc.want {
						t.Error("not parked")
					}
				}
				return nil, http.ErrHandlerTimeout
			})}
			request, err := http.NewRequestWithContext(a.in(t.Context()), http.MethodGet, "https://x.test/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if response, err := o.RoundTrip(request); err == nil {
				response.Body.Close()
			}
		})
	}
}
