package integration

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// replica is an engine that serves what is in its shards.
type replica struct {
	engine *engine.Engine
	// stop ends both together, as the end of a process does.
	stop func()
}

func (w *world) startReplica(t *testing.T, name string) replica {
	t.Helper()
	leases, err := typedcoordinationv1.NewForConfig(w.hostConfig)
	if err != nil {
		t.Fatal(err)
	}
	share, err := shards.New(shards.Options{Client: leases.Leases(metav1.NamespaceDefault), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	served, stopEngine := w.start(t, share)
	if !served.HostCache().WaitForCacheSync(t.Context()) {
		t.Fatal("the cache of the host was not filled")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- share.Run(ctx) }()
	stop := func() {
		if ctx.Err() != nil {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("replica %s ended with: %v", name, err)
		}
		stopEngine()
	}
	t.Cleanup(stop)
	return replica{served, stop}
}

func plainService(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shared", Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

// TestHandover: one replica at a time serves a tenant, the next one as soon as the last one has ended, and what happened in
// between is not missed.
func TestHandover(t *testing.T) {
	w := newWorld(t)
	hostNamespace := w.namespace(t, "shared")
	first := w.startReplica(t, "first")
	w.isServed(t, first.engine)
	create(t, w.virtual, plainService("one"))
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "one"}, &corev1.Service{}, func(*corev1.Service) error { return nil })

	second := w.startReplica(t, "second")
	if second.engine.Synced(w.tenant.UID) {
		t.Error("two replicas serve the tenant")
	}
	begin := time.Now()
	first.stop()
	if first.engine.Synced(w.tenant.UID) {
		t.Error("the replica that has ended serves the tenant")
	}
	create(t, w.virtual, plainService("two"))
	remove(t, w.virtual, plainService("one"))
	w.isServed(t, second.engine)
	t.Logf("served by the second one %s after the end of the first one began", time.Since(begin))
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "two"}, &corev1.Service{}, func(*corev1.Service) error { return nil })
	awaitGone(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "one"}, &corev1.Service{})

	third := w.startReplica(t, "third")
	second.stop()
	w.isServed(t, third.engine)
}
