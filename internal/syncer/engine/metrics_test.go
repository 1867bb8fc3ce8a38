package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
)

// series are the values of all series of a registry, counts for histograms, by name and labels.
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			name := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch {
			case metric.GetHistogram() != nil:
				found[name] = float64(metric.GetHistogram().GetSampleCount())
			case metric.GetCounter() != nil:
				found[name] = metric.GetCounter().GetValue()
			default:
				found[name] = metric.GetGauge().GetValue()
			}
		}
	}
	return found
}

func noGauges() gauges {
	none := func() float64 { return 0 }
	return gauges{depth: none, tenants: none, blocked: none, unanswered: none, parked: none, resting: none, throttled: none, calls: none}
}

func testMetrics(t *testing.T) (*metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry, noGauges())
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

func (o *observer) call(ctx context.Context, t *testing.T, method, path string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, "https://server.test"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := o.RoundTrip(request)
	if err == nil {
		response.Body.Close()
	}
}

func answers(code int) http.RoundTripper {
	return roundTripFunc(func(*http.Request) (*http.Response, error) {
		if code == 0 {
			return nil, errors.New("connection refused")
		}
		return &http.Response{StatusCode: code, Body: http.NoBody}, nil
	})
}

// TestLagIsMeasuredByWritesToTheOtherSide: what is no write, fails, or goes to the side of the change is no end of the lag.
func TestLagIsMeasuredByWritesToTheOtherSide(t *testing.T) {
	const down, up = "matryoshka_sync_lag_seconds{direction=down,kind=thing}", "matryoshka_sync_lag_seconds{direction=up,kind=thing}"
	ago := time.Now().Add(-time.Second)
	virtual, host := cause{virtual: ago}, cause{host: ago}
	for name, tc := range map[string]struct {
		why          cause
		side         Side
		method, path string
		code         int
		want         string
	}{
		"Down":          {virtual, Host, http.MethodPost, "/things", 201, down},
		"Up":            {host, Virtual, http.MethodPatch, "/things/a/status", 200, up},
		"Delete":        {virtual, Host, http.MethodDelete, "/things/a", 200, down},
		"Read":          {virtual, Host, http.MethodGet, "/things/a", 200, ""},
		"Refused":       {virtual, Host, http.MethodPost, "/things", 403, ""},
		"NotAnswered":   {virtual, Host, http.MethodPost, "/things", 0, ""},
		"SameSide":      {virtual, Virtual, http.MethodPut, "/things/a", 200, ""},
		"Token":         {host, Virtual, http.MethodPost, "/serviceaccounts/a/token", 201, ""},
		"NobodyChanged": {cause{}, Host, http.MethodPost, "/things", 201, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, registry := testMetrics(t)
			a := &attempt{kind: "thing", metrics: m, why: tc.why}
			(&observer{next: answers(tc.code), side: tc.side}).call(a.in(t.Context()), t, tc.method, tc.path)
			left := a.measure()
			found := series(t, registry)
			if found[down]+found[up] != 0 != (tc.want != "") || tc.want != "" && found[tc.want] != 1 {
				t.Errorf("got %v, want one of %q", found, tc.want)
			}
			if (left == cause{}) != (tc.want != "" || tc.why == cause{}) {
				t.Errorf("%+v is left", left)
			}
		})
	}
}

func TestConflictsAreCountedBySide(t *testing.T) {
	m, registry := testMetrics(t)
	a := &attempt{kind: "thing", metrics: m}
	host, virtual := &observer{next: answers(409), side: Host}, &observer{next: answers(409), side: Virtual}
	host.call(a.in(t.Context()), t, http.MethodPut, "/things/a")
	host.call(a.in(t.Context()), t, http.MethodPost, "/things") // the name is taken: no conflict
	host.call(t.Context(), t, http.MethodPut, "/things/a")      // nobody's attempt
	virtual.call(a.in(t.Context()), t, http.MethodPatch, "/things/a/status")
	virtual.call(a.in(t.Context()), t, http.MethodDelete, "/things/a")
	found := series(t, registry)
	for name, want := range map[string]float64{"host": 1, "virtual": 2} {
		if got := found["matryoshka_sync_conflicts_total{kind=thing,side="+name+"}"]; got != want {
			t.Errorf("%v conflicts of side %s, want %v", got, name, want)
		}
	}
}

func TestRepairsAreWhatOnlyTheHostHasChanged(t *testing.T) {
	copyOf := func(uid string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{mapping.AnnotationTenantUID: uid}}}
	}
	now := time.Now()
	for name, tc := range map[string]struct {
		why                    cause
		made                   string // UID of the tenant object whose copy is made; empty if one is changed
		before, after          string
		wantChanged, wantAgain float64
	}{
		"Edited":             {why: cause{host: now, isEdited: true}, before: "a", after: "a", wantChanged: 1},
		"StatusOnly":         {why: cause{host: now}, before: "a", after: "a"},
		"TenantChangedToo":   {why: cause{host: now, virtual: now, isEdited: true}, before: "a", after: "a"},
		"TakenOver":          {why: cause{host: now, isEdited: true}, before: "", after: "a"},
		"Sweep":              {before: "a", after: "a"},
		"Deleted":            {why: cause{host: now, copyOf: "a"}, made: "a", wantAgain: 1},
		"GoneAlready":        {why: cause{host: now, copyOf: "a", isEdited: true}, made: "a", wantAgain: 1},
		"PredecessorDeleted": {why: cause{host: now, copyOf: "old"}, made: "a"},
		"FirstMade":          {why: cause{virtual: now}, made: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			m, registry := testMetrics(t)
			tried := &attempt{kind: "thing", metrics: m, why: tc.why}
			ctx := tried.in(t.Context())
			if tc.made != "" {
				noteMade(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(tc.made)}})
			} else {
				NoteChanged(ctx, copyOf(tc.before), copyOf(tc.after))
			}
			found := series(t, registry)
			if got := tried.isPutBack; got != (tc.wantChanged == 1) {
				t.Errorf("the copy was changed: %v, want %v", got, tc.wantChanged)
			}
			if got := found["matryoshka_sync_repairs_total{found=deleted,kind=thing}"]; got != tc.wantAgain {
				t.Errorf("%v copies were deleted, want %v", got, tc.wantAgain)
			}
		})
	}
}

// TestNoticesOfEdits: a host copy whose status alone has changed was not edited.
func TestNoticesOfEdits(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Generation: 1, Labels: map[string]string{"a": "b"}, Annotations: map[string]string{mapping.AnnotationTenantUID: "u"}}}
	running := pod.DeepCopy()
	running.Status.Phase = corev1.PodRunning
	labelled := pod.DeepCopy()
	labelled.Labels["a"] = "c"
	var got notice
	handler := handlerFuncs(nil, Trigger{}, func(seen notice) { got = seen })
	for name, tc := range map[string]struct {
		do   func()
		want notice
	}{
		"Add":    {func() { handler.OnAdd(pod, false) }, notice{}},
		"Status": {func() { handler.OnUpdate(pod, running) }, notice{}},
		"Label":  {func() { handler.OnUpdate(pod, labelled) }, notice{isEdited: true}},
		"Delete": {func() { handler.OnDelete(pod) }, notice{}},
	} {
		got = notice{}
		tc.do()
		if got.object == nil || got.at.IsZero() || got.isEdited != tc.want.isEdited {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
		if got.cause(Host).copyOf != "u" || got.cause(Virtual).copyOf != "" {
			t.Errorf("%s: causes %+v and %+v", name, got.cause(Host), got.cause(Virtual))
		}
	}
}

// TestLagGoesOnOverFailures: what has failed is measured from the first change, and what the host refused not at all; what was found on
// the host is not forgotten.
func TestLagGoesOnOverFailures(t *testing.T) {
	first := time.Now().Add(-time.Minute)
	for name, tc := range map[string]struct {
		err  error
		want cause
	}{
		"Failed":  {errors.New("the server is on fire"), cause{virtual: first, copyOf: "u"}},
		"Refused": {Refuse(ReasonNotSupported, "no"), cause{copyOf: "u"}},
		"Busy":    {&HostError{Action: "create", Err: &hostpace.BusyError{}}, cause{virtual: first, copyOf: "u"}},
		"Waits":   {fmt.Errorf("create: %w", ErrPredecessor), cause{copyOf: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, run := oneRun(t, Kind{Name: "thing", Reconcile: func(context.Context, *Scope, Key) (Result, error) { return Result{}, tc.err }})
			w := work{key: Key{Name: "a"}}
			e.queue.addFor(run.uid, w, cause{virtual: first, copyOf: "u"})
			it := takeOne(t, e.queue)
			e.queue.done(it, e.process(t.Context(), it, func() {}))
			e.queue.add(run.uid, w) // in place of waiting for the delay
			if it = takeOne(t, e.queue); it.why != tc.want {
				t.Errorf("the second attempt is for %+v, want %+v", it.why, tc.want)
			}
			e.queue.done(it, 0)
		})
	}
}

// TestBusyHostIsNoFailureOfAKey: however often the host has no room, a key comes again as soon as it has some, and not
// later each time.
func TestBusyHostIsNoFailureOfAKey(t *testing.T) {
	busy := &hostpace.BusyError{After: time.Second}
	e, run := oneRun(t, Kind{Name: "thing", Reconcile: func(context.Context, *Scope, Key) (Result, error) {
		return Result{}, &HostError{Action: "create", Err: fmt.Errorf("post: %w", busy)}
	}})
	for range 20 {
		e.queue.add(run.uid, work{key: Key{Name: "a"}})
		it := takeOne(t, e.queue)
		after := e.process(t.Context(), it, func() {})
		if after != time.Second {
			t.Fatalf("it comes again after %s", after)
		}
		e.queue.done(it, after)
	}
}

// TestQueueMergesCauses: of several changes the oldest counts, also of those that come while the key is worked on.
func TestQueueMergesCauses(t *testing.T) {
	q := testQueue(10, "a")
	w := key(kindNormal, "x")
	first, second, third := time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)
	q.addFor("a", w, cause{virtual: second})
	q.addFor("a", w, cause{virtual: first, host: third, isEdited: true})
	it := takeOne(t, q)
	if want := (cause{virtual: first, host: third, isEdited: true}); it.why != want {
		t.Errorf("got %+v, want %+v", it.why, want)
	}
	q.addFor("a", w, cause{host: second, copyOf: "u"})
	q.keep(it, cause{host: third})
	q.done(it, 0)
	it = takeOne(t, q)
	if want := (cause{host: second, copyOf: "u"}); it.why != want {
		t.Errorf("again %+v, want %+v", it.why, want)
	}
	q.done(it, 0)
	if left := len(q.tenants["a"].causes); left != 0 {
		t.Errorf("%d causes are left", left)
	}
}

func TestBreakerOpeningsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	e, run := oneRun(t, Kind{Name: "thing"})
	gauges := noGauges()
	gauges.blocked = e.blockedCount
	var err error
	if e.metrics, err = newMetrics(registry, gauges); err != nil {
		t.Fatal(err)
	}
	if !run.block(time.Hour) || run.block(time.Hour) {
		t.Error("a tenant that is blocked was blocked again")
	}
	found := series(t, registry)
	if found["matryoshka_sync_breaker_openings_total{}"] != 1 || found["matryoshka_sync_tenants_blocked{}"] != 1 {
		t.Errorf("found %v", found)
	}
}

// BenchmarkCause is the cost of the metrics for one key: what is kept of a notice, and the two lags.
func BenchmarkCause(b *testing.B) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry, noGauges())
	if err != nil {
		b.Fatal(err)
	}
	q := testQueue(10, "a")
	w := key(kindNormal, "x")
	for b.Loop() {
		q.addFor("a", w, cause{virtual: time.Now(), host: time.Now()})
		q.mu.Lock()
		it, _ := q.take()
		q.mu.Unlock()
		a := &attempt{kind: "thing", metrics: m, why: it.why}
		a.in(b.Context())
		a.written = [2]time.Time{time.Now(), time.Now()}
		a.measure()
		q.done(it, 0)
	}
}
