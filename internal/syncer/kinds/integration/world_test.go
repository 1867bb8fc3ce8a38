// Package integration tests kinds together, by the engine, between two real API servers. The test plays the host's
// volume binder, kubelet and cloud by writing what they would.
package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csidriver"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csinode"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csistoragecapacity"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/endpointslice"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/event"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostobject"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingress"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingressclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/namespace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/networkpolicy"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/node"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolume"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolumeclaim"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/pod"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/poddisruptionbudget"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/priorityclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/runtimeclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/service"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/storageclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// serviceRange is the same on both sides: in the product the tenant's range is wide and the host decides.
const (
	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1"
	settle         = 500 * time.Millisecond
)

func pointer[T any](value T) *T { return &value }

// world is a host and a tenant that an engine keeps in step.
type world struct {
	hostConfig *rest.Config
	// agentConfig reaches the host as the agent.
	agentConfig *rest.Config
	host        client.Client
	virtual     client.Client
	tenant      tenants.Tenant
	ensurer     *namespaces.Ensurer
	limits      hostusage.Limits
	// maxCached bounds what the engine keeps of the tenant; 0 is the default.
	maxCached int64
	// maxTogether bounds what it keeps of all tenants; 0 is no bound.
	maxTogether int64
	// writes is the tenants' share of writes; zero is the default.
	writes engine.WriteShare
	// metrics are those of the engines; nil means that nobody reads them.
	metrics *prometheus.Registry
	// explain puts refusals of the host into other words; nil has none.
	explain func(ctx context.Context, hostNamespace, message string) (string, bool)
	// pace is that of the engines; nil means that each has its own.
	pace *hostpace.Pace
	// withPods adds the kinds of pods and of what they need; otherwise the test itself makes namespaces and host pods.
	withPods bool
	// others are further tenants that the engine serves.
	others []tenants.Tenant
	// ahead is by how many nanoseconds the agent's clock is ahead.
	ahead atomic.Int64
	// engine is the one that runs, and hostCache what it sees of the host.
	engine    *engine.Engine
	hostCache client.Reader
	// registry is what the engine that runs reads.
	registry *tenants.Registry
	// hostObjects tells what keeps objects of the host from being shown.
	hostObjects *hostobject.Source
	// specMu is held while the spec in the registry is changed.
	specMu sync.Mutex
}

func newWorld(t *testing.T) *world {
	t.Helper()
	hostConfig := testenv.StartHost(t, testenv.WithServiceRange(serviceRange, serviceAddress))
	virtualConfig := testenv.StartTenant(t, testenv.WithServiceRange(serviceRange, serviceAddress))
	w := &world{hostConfig: hostConfig, host: newClient(t, hostConfig), virtual: newClient(t, virtualConfig)}
	w.tenant = tenants.Tenant{
		ID: "x7k2p5q4", UID: "6f1f2b4e-0000-4000-8000-000000000001", Namespace: "demo", Name: "hello",
		VirtualConfig: virtualConfig, Ready: true,
	}
	w.tenant.Spec.Nodes.Selector = map[string]string{"pool": "tenants"}
	w.agentConfig = w.beAgent(t)
	w.ensurer = namespaces.New(newClient(t, w.agentConfig), namespaces.Options{})
	return w
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	made, err := client.New(config, client.Options{Scheme: engine.Scheme, Mapper: engine.NewMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// unused is a host whose nodes nobody but the tenant uses.
type unused struct{}

func (unused) Others(string, types.UID) (corev1.ResourceList, bool) { return nil, true }

// now is the agent's clock.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// kinds are those that the engine keeps in step.
func (w *world) kinds(ranges *hostranges.Source) []engine.Kind {
	secrets := pod.NewSecretCopier(ingress.SecretReferrer())
	kinds := []engine.Kind{
		service.New(w.now), endpointslice.New(ranges), persistentvolumeclaim.New(), persistentvolume.New(), storageclass.New(), event.New(),
		networkpolicy.New(networkpolicy.Options{Ranges: ranges}), poddisruptionbudget.New(),
		ingress.New(ingress.Options{Secrets: secrets}), ingressclass.New(), priorityclass.New(), runtimeclass.New(),
		node.New(unused{}), csidriver.New(), csinode.New(), csistoragecapacity.New(),
	}
	if !w.withPods {
		return append(kinds, referenced.NewKind(secrets))
	}
	kinds = append(kinds, pod.NewKinds(pod.Options{Secrets: secrets, Labels: networkpolicy.PodLabels, Now: w.now})...)
	return append(kinds, namespace.New(w.ensurer, ranges))
}

// run runs an engine until the returned function is called, which waits for its end.
func (w *world) run(t *testing.T) (stop func()) {
	t.Helper()
	served, stop := w.start(t, shards.All())
	w.isServed(t, served)
	return stop
}

func (w *world) isServed(t *testing.T, by *engine.Engine) {
	t.Helper()
	eventually(t, "the tenant is served", func() error {
		if !by.Synced(w.tenant.UID) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// start starts an engine that serves the tenant as far as it is in its shards.
func (w *world) start(t *testing.T, shares shards.Shares) (served *engine.Engine, stop func()) {
	t.Helper()
	w.registry = tenants.NewRegistry()
	for _, tenant := range append([]tenants.Tenant{w.tenant}, w.others...) {
		w.registry.Set(tenant)
	}
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	ranges := hostranges.NewSource(newClient(t, w.agentConfig), w.now)
	options := engine.Options{
		Namespaces: w.ensurer, Pace: w.pace, Shards: shares, Usage: hostusage.New(w.limits), MaxCached: w.maxCached, MaxTogether: w.maxTogether, Writes: w.writes, Explain: w.explain,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	if w.metrics != nil {
		options.Registerer = w.metrics
	}
	w.hostObjects = hostobject.New(hostobject.Options{Recheck: 200 * time.Millisecond})
	served, err := engine.New(w.agentConfig, w.registry, append(w.hostObjects.Kinds(), w.kinds(ranges)...), options)
	if err != nil {
		t.Fatal(err)
	}
	w.engine, w.hostCache = served, served.HostCache()
	ranges.Follow(served.HostCache())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- served.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the engine ended with: %v", err)
		}
	}
	t.Cleanup(stop)
	return served, stop
}

// setSpec changes the spec of the VirtualCluster that the engine sees. Tests that run together change different fields.
func (w *world) setSpec(edit func(*clusterv1alpha1.VirtualClusterSpec)) {
	w.specMu.Lock()
	defer w.specMu.Unlock()
	tenant, _ := w.registry.ByUID(w.tenant.UID)
	edit(&tenant.Spec)
	w.registry.Set(tenant)
}

// namespace makes a tenant namespace and its mapped one, and returns the latter's name.
func (w *world) namespace(t *testing.T, name string) (hostNamespace string) {
	t.Helper()
	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	hostNamespace, err := w.ensurer.Ensure(t.Context(), w.tenant, name)
	if err != nil {
		t.Fatal(err)
	}
	return hostNamespace
}

// ownerLabels are what marks a host object as this tenant's.
func (w *world) ownerLabels(tenantNamespace string) map[string]string {
	return map[string]string{
		mapping.LabelID: w.tenant.ID, mapping.LabelUID: string(w.tenant.UID), mapping.LabelName: w.tenant.Name,
		mapping.LabelNamespace: w.tenant.Namespace, mapping.LabelTenantNamespace: tenantNamespace,
	}
}

func create[T client.Object](t *testing.T, into client.Client, object T) T {
	t.Helper()
	if err := into.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, client.ObjectKeyFromObject(object), err)
	}
	return object
}

// change writes what edit does to the object of that name, whatever else is written meanwhile.
func change[T client.Object](t *testing.T, in client.Client, object T, edit func(T)) T {
	t.Helper()
	eventually(t, fmt.Sprintf("write %T %s", object, client.ObjectKeyFromObject(object)), func() error {
		if err := in.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		edit(object)
		return in.Update(t.Context(), object)
	})
	return object
}

func changeStatus[T client.Object](t *testing.T, in client.Client, object T, edit func(T)) T {
	t.Helper()
	eventually(t, fmt.Sprintf("write status of %T %s", object, client.ObjectKeyFromObject(object)), func() error {
		if err := in.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		edit(object)
		return in.Status().Update(t.Context(), object)
	})
	return object
}

func remove(t *testing.T, from client.Client, object client.Object) {
	t.Helper()
	if err := client.IgnoreNotFound(from.Delete(t.Context(), object, client.GracePeriodSeconds(0))); err != nil {
		t.Fatalf("delete %T %s: %v", object, client.ObjectKeyFromObject(object), err)
	}
}

// erase removes exactly this object with all its finalizers, as somebody does who has lost their patience. The sync may
// have made it again by the time it returns.
func erase[T client.Object](t *testing.T, from client.Client, object T) {
	t.Helper()
	key := client.ObjectKeyFromObject(object)
	uid := object.GetUID()
	if uid == "" {
		if err := from.Get(t.Context(), key, object); err != nil {
			t.Fatalf("get %T %s: %v", object, key, err)
		}
		uid = object.GetUID()
	}
	remove(t, from, object)
	eventually(t, fmt.Sprintf("erase %T %s", object, key), func() error {
		err := from.Get(t.Context(), key, object)
		if apierrors.IsNotFound(err) || err == nil && object.GetUID() != uid {
			return nil
		}
		if err != nil {
			return err
		}
		object.SetFinalizers(nil)
		err = from.Update(t.Context(), object)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		return errors.New("still there")
	})
}

// await waits until the object exists and check finds nothing wrong with it.
func await[T client.Object](t *testing.T, in client.Client, key client.ObjectKey, empty T, check func(T) error) T {
	t.Helper()
	eventually(t, fmt.Sprintf("%T %s", empty, key), func() error {
		if err := in.Get(t.Context(), key, empty); err != nil {
			return err
		}
		return check(empty)
	})
	return empty
}

func awaitGone(t *testing.T, in client.Client, key client.ObjectKey, empty client.Object) {
	t.Helper()
	eventually(t, fmt.Sprintf("end of %T %s", empty, key), func() error {
		err := in.Get(t.Context(), key, empty)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.New("still there")
	})
}

// never makes sure that an object does not come to be while everything else has settled.
func never(t *testing.T, in client.Client, key client.ObjectKey, empty client.Object) {
	t.Helper()
	err := throughout(t.Context(), settle, func() error {
		err := in.Get(t.Context(), key, empty)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.New("it exists")
	})
	if err != nil {
		t.Fatalf("%T %s: %v", empty, key, err)
	}
}

// seen waits until the engine's cache shows a host object as it is here, or as it became later.
func (w *world) seen(t *testing.T, hostObject client.Object) {
	t.Helper()
	empty, _ := hostObject.DeepCopyObject().(client.Object)
	eventually(t, fmt.Sprintf("the engine sees %T %s", hostObject, hostObject.GetName()), func() error {
		if err := w.hostCache.Get(t.Context(), client.ObjectKeyFromObject(hostObject), empty); err != nil {
			return err
		}
		order, err := resourceversion.CompareResourceVersion(empty.GetResourceVersion(), hostObject.GetResourceVersion())
		return errors.Join(err, expect(order >= 0, "it sees version %s", empty.GetResourceVersion()))
	})
}

// throughout looks again and again for as long as period, and returns the first thing that check finds wrong.
func throughout(ctx context.Context, period time.Duration, check func() error) error {
	var wrong error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, period, true, func(context.Context) (bool, error) {
		wrong = check()
		return wrong != nil, nil
	})
	if wrong != nil || errors.Is(err, context.DeadlineExceeded) {
		return wrong
	}
	return err
}

// awaitEvent waits for an event of a reason on a tenant object and returns its message.
func (w *world) awaitEvent(t *testing.T, namespace, name, reason string) string {
	t.Helper()
	return w.awaitEventWithin(t, 90*time.Second, namespace, name, reason)
}

func (w *world) awaitEventWithin(t *testing.T, within time.Duration, namespace, name, reason string) string {
	t.Helper()
	message := ""
	eventuallyWithin(t, within, fmt.Sprintf("event %s on %s/%s", reason, namespace, name), func() error {
		events := &corev1.EventList{}
		options := []client.ListOption{client.MatchingFields{"involvedObject.name": name, "reason": reason}}
		if namespace != "" {
			options = append(options, client.InNamespace(namespace))
		}
		if err := w.virtual.List(t.Context(), events, options...); err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return fmt.Errorf("no such event")
		}
		message = events.Items[0].Message
		return nil
	})
	if strings.Contains(message, "vc-"+w.tenant.ID) {
		t.Errorf("the message %q names a host namespace", message)
	}
	return message
}

func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	var missing error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
		missing = condition()
		return missing == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v (%v)", what, missing, err)
	}
}

func expect(ok bool, format string, values ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, values...)
}
