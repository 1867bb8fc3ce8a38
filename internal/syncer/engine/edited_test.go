package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func versionOf(version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", ResourceVersion: version}}
}

func TestOwnWritesAreKnown(t *testing.T) {
	now := time.Now()
	own := newOwnWrites(func() time.Time { return now })
	if own.isOwn(versionOf("1")) {
		t.Error("what nobody has written is ours")
	}
	own.wrote(versionOf("1"))
	own.wrote(versionOf("2"))
	for version, want := range map[string]bool{"1": true, "2": true, "3": false} {
		if got := own.isOwn(versionOf(version)); got != want {
			t.Errorf("version %s: ours %v, want %v", version, got, want)
		}
	}
	own.doubt(versionOf("2"))
	if !own.isOwn(versionOf("3")) {
		t.Error("a write without an answer may be what is seen")
	}
	now = now.Add(doubtful)
	if own.isOwn(versionOf("3")) {
		t.Error("a write without an answer is still in doubt after a long time")
	}
}

// TestOwnEchoIsNoRepair: what is written twice in a row, the second time because the first was not all, is no edit by others.
func TestOwnEchoIsNoRepair(t *testing.T) {
	own := newOwnWrites(time.Now)
	tried := &attempt{kind: "thing", own: own, why: cause{host: time.Now(), isEdited: true}}
	ctx := tried.in(t.Context())
	NoteWritten(ctx, versionOf("1"), nil)
	NoteChanged(ctx, versionOf("1"), versionOf("1"))
	NoteWritten(ctx, versionOf("2"), nil)
	NoteChanged(ctx, versionOf("1"), versionOf("1")) // of the same state as before
	if tried.isPutBack {
		t.Error("what we have written ourselves counts as somebody else's")
	}
	NoteWritten(ctx, versionOf("2"), apierrors.NewServiceUnavailable("away"))
	NoteChanged(ctx, versionOf("3"), versionOf("3"))
	if tried.isPutBack {
		t.Error("a write without an answer counts as somebody else's")
	}
}

// TestPutBackIsToldUnlessTheTenantHasChanged: a cache may show a change of the tenant's before it tells of it.
func TestPutBackIsToldUnlessTheTenantHasChanged(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile cause
		want      float64
	}{
		"Nothing":     {want: 1},
		"TheHost":     {meanwhile: cause{host: time.Now()}, want: 1},
		"TheTenantTo": {meanwhile: cause{virtual: time.Now()}},
	} {
		t.Run(name, func(t *testing.T) {
			e, run := oneRun(t, Kind{Name: "thing"})
			var registry *prometheus.Registry
			e.metrics, registry = testMetrics(t)
			e.queue.add(run.uid, key(0, "x"))
			it := takeOne(t, e.queue)
			e.queue.addFor(run.uid, it.work, tc.meanwhile)
			e.settlePutBack(t.Context(), run.scope(), it, &attempt{isPutBack: true})
			if got := series(t, registry)["matryoshka_sync_repairs_total{found=changed,kind=thing}"]; got != tc.want {
				t.Errorf("%v repairs, want %v", got, tc.want)
			}
		})
	}
}

func TestContestedCopiesWait(t *testing.T) {
	now := time.Now()
	own := newOwnWrites(func() time.Time { return now })
	change := []byte(`{"spec":{"selector":{"app":"web"}}}`)
	write := func(uid types.UID) error {
		err := own.mayPutBack(uid, change)
		if err == nil {
			own.hasPutBack(uid, change)
		}
		return err
	}
	for range 2 * putBackFreely {
		if err := own.mayPutBack("u", change); err != nil {
			t.Fatalf("tried again, since the host did not take it: %v", err)
		}
	}
	for range putBackFreely {
		if err := write("u"); err != nil {
			t.Fatal(err)
		}
	}
	var waits []time.Duration
	for range 12 {
		held := (*heldBackError)(nil)
		if err := own.mayPutBack("u", change); !errors.As(err, &held) {
			t.Fatalf("not held back after %v: %v", waits, err)
		}
		waits = append(waits, held.after)
		now = now.Add(held.after)
		if err := write("u"); err != nil {
			t.Fatalf("after the wait: %v", err)
		}
	}
	if waits[0] != time.Second || waits[1] != 2*time.Second || waits[11] != putBackLast {
		t.Errorf("waits: %v", waits)
	}
	if err := own.mayPutBack("other", change); err != nil {
		t.Errorf("another copy: %v", err)
	}
	if err := own.mayPutBack("u", []byte(`{"spec":{"selector":{"app":"shop"}}}`)); err != nil {
		t.Errorf("another change, as one of the tenant's: %v", err)
	}
	for range putBackFreely + 1 {
		_ = write("v")
	}
	now = now.Add(putBackForgotten + time.Second)
	if err := own.mayPutBack("v", change); err != nil {
		t.Errorf("when it was left alone for long: %v", err)
	}
}

func TestChangedFields(t *testing.T) {
	before := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "evil"}}}
	after := before.DeepCopy()
	after.Labels["a"], after.Spec.Selector["app"], after.Spec.Type = "c", "web", corev1.ServiceTypeNodePort
	if diff := cmp.Diff([]string{"metadata.labels", "spec.selector", "spec.type"}, changedFields(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// BenchmarkOwnWrites is what is added to each write of a copy.
func BenchmarkOwnWrites(b *testing.B) {
	own := newOwnWrites(time.Now)
	pod, change := versionOf("1"), []byte(`{"spec":{"selector":{"app":"web"}}}`)
	for index := 0; b.Loop(); index++ {
		pod.ResourceVersion = fmt.Sprint(index)
		_ = own.isOwn(pod)
		_ = own.mayPutBack(pod.UID, change[:len(change)-index%2])
		own.hasPutBack(pod.UID, change[:len(change)-index%2])
		own.wrote(pod)
	}
}
