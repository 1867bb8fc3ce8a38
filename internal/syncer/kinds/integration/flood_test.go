package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
)

const (
	// floodSize is how many namespaces the tenant makes, and floodClients how many clients make them.
	floodSize, floodClients = 10_000, 20
	// floodBound is how many namespaces of it the host may have: fewer than by default, since it is their end that takes a host long.
	// What is under way while the bound is reached may still come.
	floodBound, underWay = 40, 16
)

// TestNamespaceFlood: ten thousand namespaces of a tenant are on the host up to their bound, ask little of it and keep no
// neighbour waiting; when they go, they leave nothing.
func TestNamespaceFlood(t *testing.T) {
	w := newWorld(t) // not beside other tests: it takes what the machine has
	w.preparePods(t)
	w.metrics = prometheus.NewRegistry()
	config, asked := countedRequests(w.agentConfig)
	w.ensurer = namespaces.New(newClient(t, config), namespaces.Options{MaxNamespaces: floodBound})
	neighbour := w.addNeighbour(t)
	w.run(t)
	own := w.place(t, "web")
	flood := w.newFlood(t)

	created := flood.each(t, flood.create)
	w.watchNeighbour(t, neighbour, "created", created)
	eventually(t, "all of it is looked at", func() error {
		return expect(w.engine.Idle(), "%v", w.gather(t, "matryoshka_sync_queue_depth"))
	})
	w.checkBounded(t)
	if asked := asked.Load(); asked > floodSize/2 {
		t.Errorf("for its namespaces the host was asked %d times", asked)
	}
	w.checkTold(t)

	removed := flood.each(t, flood.remove)
	w.watchNeighbour(t, neighbour, "removed", removed)
	eventually(t, "the end of the flood on the host", func() error {
		left := slices.DeleteFunc(w.mapped(t), func(name string) bool { return !isOfFlood(name) })
		return expect(len(left) == 0, "there are %v", left)
	})
	w.place(t, "after")
	if now := w.hostUID(t, "web"); now != own {
		t.Errorf("the tenant's other namespace is another on the host: %s, it was %s", now, own)
	}
}

// flood is what the tenant does to its own API server.
type flood struct {
	namespaces typedcorev1.NamespaceInterface
}

func (w *world) newFlood(t *testing.T) flood {
	t.Helper()
	config := rest.CopyConfig(w.tenant.VirtualConfig)
	config.QPS = -1
	return flood{namespaces: kubernetes.NewForConfigOrDie(config).CoreV1().Namespaces()}
}

func floodName(index int) string { return fmt.Sprintf("flood-%d", index) }

func isOfFlood(name string) bool { return strings.HasPrefix(name, "flood-") }

// create makes a namespace that nobody has to empty before it goes: the tenant's own namespace controller, which looks in each for every kind
// of object, would take many minutes for so many.
func (f flood) create(ctx context.Context, name string) error {
	made, err := f.namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Spec.Finalizers = nil
	_, err = f.namespaces.Finalize(ctx, made, metav1.UpdateOptions{})
	return err
}

// remove deletes twice: the first time only says that the namespace is to go.
func (f flood) remove(ctx context.Context, name string) error {
	if err := f.namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return f.namespaces.Delete(ctx, name, metav1.DeleteOptions{})
}

// each does something with each namespace of the flood, and closes done when it has.
func (f flood) each(t *testing.T, do func(ctx context.Context, name string) error) (done chan struct{}) {
	t.Helper()
	var group sync.WaitGroup
	for first := range floodClients {
		group.Go(func() {
			for index := first; index < floodSize; index += floodClients {
				if err := do(t.Context(), floodName(index)); err != nil {
					t.Errorf("%s: %v", floodName(index), err)
					return
				}
			}
		})
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		group.Wait()
	}()
	t.Cleanup(func() { <-done })
	return done
}

// watchNeighbour makes pods of the neighbour until the flood has come or gone. How long they take is told, not judged.
func (w *world) watchNeighbour(t *testing.T, neighbour client.Client, what string, done chan struct{}) {
	t.Helper()
	began, deepest := time.Now(), 0.0
	var lags []time.Duration
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for isDone := false; !isDone; {
		lags = append(lags, lifeOf(t, neighbour, newWebPod(fmt.Sprintf("%s-%d", what, len(lags)))))
		for _, depth := range w.gather(t, "matryoshka_sync_queue_depth") {
			deepest = max(deepest, depth)
		}
		select {
		case <-done:
			isDone = true
		case <-tick.C:
		}
	}
	slices.Sort(lags)
	t.Logf("%d namespaces were %s in %s, %.0f keys waited at most; of the neighbour's %d pods the median took %s, the slowest %s", floodSize, what,
		time.Since(began).Round(time.Millisecond), deepest, len(lags), lags[len(lags)/2].Round(time.Millisecond), lags[len(lags)-1].Round(time.Millisecond))
	// A namespace has one key, and the ConfigMap that each gets in the tenant another.
	if deepest > 2*floodSize+1000 {
		t.Errorf("%.0f keys waited", deepest)
	}
}

// lifeOf makes a pod, waits until it runs, deletes it, and returns how long it took to run.
func lifeOf(t *testing.T, virtual client.Client, pod *corev1.Pod) time.Duration {
	t.Helper()
	began := time.Now()
	create(t, virtual, pod)
	await(t, virtual, client.ObjectKeyFromObject(pod), pod, func(pod *corev1.Pod) error {
		return expect(pod.Status.Phase == corev1.PodRunning, "it is %s", pod.Status.Phase)
	})
	took := time.Since(began)
	remove(t, virtual, pod)
	return took
}

// checkBounded: the tenant is served, and the host has no more of it than it may.
func (w *world) checkBounded(t *testing.T) {
	t.Helper()
	if mapped := w.mapped(t); len(mapped) < floodBound || len(mapped) > floodBound+underWay {
		t.Errorf("%d namespaces are on the host: %v", len(mapped), mapped)
	}
	if problem := w.engine.Problem(w.tenant.UID); problem != "" || !w.engine.Synced(w.tenant.UID) {
		t.Errorf("the tenant is not served: %s", problem)
	}
}

// checkTold: what needs a namespace that the host does not take is told so.
func (w *world) checkTold(t *testing.T) {
	t.Helper()
	mapped, refused := w.mapped(t), 0
	for slices.Contains(mapped, floodName(refused)) {
		refused++
	}
	service := create(t, w.virtual, newService(floodName(refused), "web", corev1.ClusterIPNone))
	// Thousands of others are told as well, and what the recorder has no room for is told with the next try, which comes every two
	// minutes at least.
	message := w.awaitEventWithin(t, 150*time.Second, service.Namespace, service.Name, engine.ReasonLimitReached)
	if !strings.Contains(message, fmt.Sprintf("%d namespaces", floodBound)) {
		t.Errorf("it is told: %s", message)
	}
	remove(t, w.virtual, service) // nothing else removes what is in the namespace
}

// place makes a namespace of the tenant, waits until the host has it, and returns its UID there.
func (w *world) place(t *testing.T, name string) (hostUID string) {
	t.Helper()
	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	await(t, w.host, client.ObjectKey{Name: mapping.HostNamespace(w.tenant.ID, name)}, &corev1.Namespace{}, func(*corev1.Namespace) error { return nil })
	return w.hostUID(t, name)
}

func (w *world) hostUID(t *testing.T, name string) string {
	t.Helper()
	hostNamespace := &corev1.Namespace{}
	if err := w.host.Get(t.Context(), client.ObjectKey{Name: mapping.HostNamespace(w.tenant.ID, name)}, hostNamespace); err != nil {
		t.Fatal(err)
	}
	return string(hostNamespace.UID)
}

// mapped are the tenant's namespaces that the host has, by the tenant's names.
func (w *world) mapped(t *testing.T) (names []string) {
	t.Helper()
	list := &corev1.NamespaceList{}
	if err := w.host.List(t.Context(), list, client.MatchingLabels{mapping.LabelUID: string(w.tenant.UID)}); err != nil {
		t.Fatal(err)
	}
	for index := range list.Items {
		names = append(names, list.Items[index].Labels[mapping.LabelTenantNamespace])
	}
	return names
}

// countedRequests is config with its requests counted.
func countedRequests(config *rest.Config) (*rest.Config, *atomic.Int64) {
	asked := &atomic.Int64{}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(request *http.Request) (*http.Response, error) {
			asked.Add(1)
			return next.RoundTrip(request)
		})
	})
	return config, asked
}
