package engine

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
)

// meter is one whose clock stands still and that notes its rests.
func meter(share WriteShare) (m *writeMeter, clock *time.Time, rests *[]time.Duration, pace *float64) {
	clock, rests, pace = new(time.Now()), &[]time.Duration{}, new(1.0)
	m = newWriteMeter(share.complete(), func() float64 { return *pace }, func() time.Time { return *clock }, func(pause time.Duration) { *rests = append(*rests, pause) })
	return m, clock, rests, pace
}

func TestWriteMeter(t *testing.T) {
	m, clock, rests, pace := meter(WriteShare{PerSecond: 10, Burst: 20, BytesPerSecond: 1000, BurstBytes: 5000})
	for range 20 {
		m.charge(1, 100)
	}
	if len(*rests) != 0 {
		t.Fatalf("a burst is too much: %v", *rests)
	}
	m.charge(1, 0)
	m.charge(1, 0)
	m.charge(0, 5000)
	if want := []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}; len(*rests) != 3 || (*rests)[0] != want[0] || (*rests)[1] != want[1] || (*rests)[2] != want[2] {
		t.Errorf("rests %v, want %v", *rests, want)
	}
	*clock = clock.Add(2 * time.Second)
	if pause := m.take(0, 0); pause != 0 {
		t.Errorf("after the rest: %s", pause)
	}
	*pace = 0.5 // the host allows half of what it does at best
	if pause := m.take(0, 1000); pause != 2*time.Second {
		t.Errorf("while the host is busy: %s, want twice as long", pause)
	}
	*clock = clock.Add(-time.Hour) // the clock jumps
	if pause := m.take(0, 0); pause != 2*time.Second {
		t.Errorf("after a jump back: %s", pause)
	}
	*clock = clock.Add(1000 * time.Hour)
	if m.take(0, 0); m.bytes != 5000 || m.writes != 20 {
		t.Errorf("after a long time %v writes and %v bytes are left, want a burst", m.writes, m.bytes)
	}
}

// TestWritesAreChargedByWhatIsStored: a small patch of a large object writes the large object.
func TestWritesAreChargedByWhatIsStored(t *testing.T) {
	m, _, _, _ := meter(WriteShare{Burst: 100, BurstBytes: 10000})
	tried := &attempt{kind: "thing", metrics: &metrics{}, writes: m}
	o := &observer{side: Host, next: roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", 3000)))}, nil
	})}
	for _, method := range []string{http.MethodGet, http.MethodPatch} {
		request, err := http.NewRequestWithContext(tried.in(t.Context()), method, "https://host.test/", strings.NewReader("small"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := o.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	if m.writes != 99 || m.bytes > 7000 || m.bytes < 6999 {
		t.Errorf("%v writes and %v bytes are left, want 99 and 7000", m.writes, m.bytes)
	}
}

func TestQueueRestingTenantDelaysNobody(t *testing.T) {
	q := testQueue(4, "busy", "quiet")
	q.add("busy", key(kindNormal, "x"))
	q.add("quiet", key(kindNormal, "x"))
	if !q.rest("busy", time.Hour) || q.rest("busy", 2*time.Hour) || q.rest("unknown", time.Hour) {
		t.Error("a rest is new once")
	}
	if it := takeOne(t, q); it.tenant != "quiet" {
		t.Errorf("got work of %q", it.tenant)
	}
	takeNone(t, q)
	if q.restingTenants() != 1 {
		t.Errorf("%d tenants rest", q.restingTenants())
	}
	q.rest("busy", time.Millisecond)
	it, ok := q.get() // blocks until the rest is over
	if !ok || it.tenant != "busy" || q.restingTenants() != 0 {
		t.Errorf("got %+v with %d tenants at rest", it, q.restingTenants())
	}
}

func TestLargeAnnotationsStay(t *testing.T) {
	events := record.NewFakeRecorder(10)
	scope := testScope()
	scope.events = events
	virtualPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{
		"prometheus.io/path": strings.Repeat("x", maxAnnotation+1), "prometheus.io/port": "80",
	}}}
	meta := scope.HostMeta(virtualPod)
	if _, ok := meta.Annotations["prometheus.io/path"]; ok || meta.Annotations["prometheus.io/port"] != "80" {
		t.Errorf("annotations: %v", meta.Annotations)
	}
	if said := <-events.Events; !strings.Contains(said, "prometheus.io/path") || !strings.Contains(said, ReasonNotApplied) {
		t.Errorf("the event says %q", said)
	}
}

func TestLabelsAreBounded(t *testing.T) {
	labels := map[string]string{}
	for len(labels)*70 < maxMetadata {
		labels[strings.Repeat("k", 40)+string(rune('a'+len(labels)%26))+strings.Repeat("x", len(labels)/26%20)+strings.Repeat("y", len(labels)/520)] = strings.Repeat("v", 60)
	}
	err := checkMetadata(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels}})
	refusal := (*Refusal)(nil)
	if !errors.As(err, &refusal) || refusal.Reason != ReasonLimitReached {
		t.Errorf("got %v", err)
	}
	if err := checkMetadata(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}}); err != nil {
		t.Error(err)
	}
}
