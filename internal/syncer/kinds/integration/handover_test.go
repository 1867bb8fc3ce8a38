package integration

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// replica is an engine that serves what is in its shards.
type replica struct {
	engine *engine.Engine
	share  *shards.Shards
	// cutOff keeps the replica from its Lease, as long as it is true.
	cutOff *atomic.Bool
	// stop ends both together, as the end of a process does.
	stop func()
}

func (w *world) startReplica(t *testing.T, name string) replica {
	t.Helper()
	cutOff := &atomic.Bool{}
	config := rest.CopyConfig(w.hostConfig)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &gate{isClosed: cutOff, next: next} })
	leases, err := typedcoordinationv1.NewForConfig(config)
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
	return replica{served, share, cutOff, stop}
}

// gate lets calls through unless it is closed.
type gate struct {
	isClosed *atomic.Bool
	next     http.RoundTripper
}

func (g *gate) RoundTrip(request *http.Request) (*http.Response, error) {
	if g.isClosed.Load() {
		return nil, errors.New("the gate is closed")
	}
	return g.next.RoundTrip(request)
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

// readings counts what begins to read all objects of a kind from a tenant.
type readings struct {
	next  http.RoundTripper
	count atomic.Int64
}

func (r *readings) RoundTrip(request *http.Request) (*http.Response, error) {
	if query := request.URL.Query(); query.Has("watch") || query.Has("limit") {
		r.count.Add(1)
	}
	return r.next.RoundTrip(request)
}

// TestCutOffReplica: a replica that cannot renew its Lease stops to work for its tenants. If nobody has taken them meanwhile it goes on,
// and has not read anything anew: when its host is slow for want of CPU, that would keep it slow.
func TestCutOffReplica(t *testing.T) {
	w := newWorld(t)
	hostNamespace := w.namespace(t, "shared")
	counted := &readings{}
	config := rest.CopyConfig(w.tenant.VirtualConfig)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		counted.next = next
		return counted
	})
	w.tenant.VirtualConfig = config
	first := w.startReplica(t, "first")
	w.isServed(t, first.engine)
	isCopied := func(name string) {
		t.Helper()
		await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: name}, &corev1.Service{}, func(*corev1.Service) error { return nil })
	}
	create(t, w.virtual, plainService("before"))
	isCopied("before")
	before := counted.count.Load()

	first.isCutOff(t, w)
	create(t, w.virtual, plainService("meanwhile"))
	first.cutOff.Store(false)
	isCopied("meanwhile")
	if after := counted.count.Load(); before == 0 || after != before {
		t.Errorf("%d readings had begun, and %d more when it went on", before, after-before)
	}

	first.isCutOff(t, w)
	second := w.startReplica(t, "second")
	w.isServed(t, second.engine)
	create(t, w.virtual, plainService("taken"))
	isCopied("taken")
	first.cutOff.Store(false)
	eventually(t, "the first replica lets go of the tenant", func() error {
		return expect(!first.engine.Synced(w.tenant.UID), "it serves it still")
	})
}

// isCutOff waits until the replica does not work for the tenant any more. It keeps what it knows.
func (r replica) isCutOff(t *testing.T, w *world) {
	t.Helper()
	r.cutOff.Store(true)
	eventually(t, "the replica may not work", func() error {
		_, leave, ok := r.share.Enter(t.Context(), w.tenant.UID)
		if ok {
			leave()
		}
		return expect(!ok, "it may")
	})
	if !r.engine.Synced(w.tenant.UID) {
		t.Error("the replica has dropped what it knows of the tenant")
	}
}
