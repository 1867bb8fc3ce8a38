package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// oneRun is an engine of one kind that serves one tenant, whose caches are not started.
func oneRun(t *testing.T, kind Kind) (*Engine, *tenantRun) {
	t.Helper()
	config := &rest.Config{Host: "https://192.0.2.1"}
	e, err := New(config, tenants.NewRegistry(), []Kind{kind}, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run := &tenantRun{engine: e, uid: "u-1"}
	run.turn.Store(&turn{serving: t.Context()})
	run.tenant.Store(&tenants.Tenant{ID: "x7k2p2q4", UID: "u-1", Namespace: "demo", Name: "hello"})
	e.running[run.uid] = run
	e.queue.open(run.uid)
	e.queue.hold(run.uid, false)
	return e, run
}

// TestPanicStaysWithItsKey: an object over which a kind panics is tried again later; nothing else is harmed.
func TestPanicStaysWithItsKey(t *testing.T) {
	e, run := oneRun(t, Kind{Name: "thing", Reconcile: func(_ context.Context, _ *Scope, key Key) (Result, error) {
		if key.Name == "bad" {
			panic("this object is too much")
		}
		return Result{}, nil
	}})
	for name, want := range map[string]bool{"bad": true, "good": false} {
		e.queue.add(run.uid, work{key: Key{Name: name}})
		it := takeOne(t, e.queue)
		after := e.process(t.Context(), it, func() {})
		e.queue.done(it, after)
		if (after >= refusedFirst) != want {
			t.Errorf("%s comes again after %s", name, after)
		}
	}
	if _, err := sweepOf(t.Context(), Kind{Sweep: func(context.Context, *Scope) ([]Key, error) { panic("sweep") }}, run.scope()); !errors.Is(err, errPanic) {
		t.Errorf("the sweep's error is %v", err)
	}
}

// TestPanicOfATrigger: functions of kinds that informers call do not end the informer, which would end the process.
func TestPanicOfATrigger(t *testing.T) {
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	trigger := Trigger{
		Keys:   func(*Scope, client.Object) []Key { panic("keys") },
		Ignore: func(_, _ client.Object) bool { panic("ignore") },
	}
	if keys := keysOf(log, trigger, nil, pod); keys != nil {
		t.Errorf("keys: %v", keys)
	}
	if ignores(log, trigger, pod, pod) {
		t.Error("an update over which Ignore panicked is ignored")
	}
	if values := valuesOf(log, Index{Values: func(client.Object) []string { panic("values") }}, pod); values != nil {
		t.Errorf("values: %v", values)
	}
	if count := strings.Count(logged.String(), "shop/web"); count != 3 {
		t.Errorf("%d panics were logged, want 3:\n%s", count, logged.String())
	}
}
