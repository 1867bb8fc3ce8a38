package pod_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/namespace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/networkpolicy"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/node"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/pod"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const (
	nodeName   = "node-1"
	tenantUID  = types.UID("6f2b8a54-0000-4000-8000-000000000001")
	tenantID   = "x7k2p2q4"
	patience   = 90 * time.Second
	pollPeriod = 20 * time.Millisecond
)

// world is a host and a tenant, with the agent's engine between them. The test plays scheduler and kubelet.
type world struct {
	hostConfig *rest.Config
	host       client.Client
	tenant     client.Client
	registry   *tenants.Registry
	engine     *engine.Engine
	stop       func()
	ahead      atomic.Int64 // by which the agent's clock is ahead
	epoch      atomic.Int64 // of the tenant, as the host has it written down
}

// advance moves the agent's clock.
func (w *world) advance(by time.Duration) { w.ahead.Add(int64(by)) }

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// eventuallyQuiet waits until the engine serves the tenant and has had nothing to do for a while.
func (w *world) eventuallyQuiet(t *testing.T) {
	t.Helper()
	quiet := 0
	eventually(t, "engine is quiet", func(context.Context) error {
		if !w.engine.Synced(tenantUID) || !w.engine.Idle() {
			quiet = 0
			return errors.New("it is not")
		}
		if quiet++; quiet < 10 {
			return fmt.Errorf("only %d times in a row", quiet)
		}
		return nil
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctrllog.SetLogger(logr.Discard())
	hostConfig, tenantConfig := testenv.StartTenant(t, testenv.WithServiceRange("10.96.0.0/16", "10.96.0.1")), testenv.StartTenant(t)
	w := &world{hostConfig: hostConfig, registry: tenants.NewRegistry(), host: newClient(t, hostConfig), tenant: newClient(t, tenantConfig)}
	w.registry.Set(tenants.Tenant{
		ID: tenantID, UID: tenantUID, Namespace: "demo", Name: "hello", ServiceAddress: "10.96.0.77",
		VirtualConfig: tenantConfig, RootCA: []byte("-----the CA-----"), Ready: true,
	})
	w.prepareHost(t)
	w.start(t)
	t.Cleanup(func() { w.stop() })
	return w
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: engine.Scheme, Mapper: engine.NewMapper()})
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	return c
}

func (w *world) prepareHost(t *testing.T) {
	t.Helper()
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-system"}})
	create(t, w.host, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "matryoshka-system", Name: "matryoshka-dns"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.53", Ports: []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP}}},
	})
	hostNode := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: nodeName, Labels: map[string]string{"zone": "a"}, Annotations: map[string]string{"secret-of-the-host": "yes"},
	}}
	create(t, w.host, hostNode)
	hostNode.Spec.Taints = nil // admission's, for nodes that are not ready yet
	if err := w.host.Update(t.Context(), hostNode); err != nil {
		t.Fatalf("update the host node: %v", err)
	}
	hostNode.Status = corev1.NodeStatus{
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeHostName, Address: "host-name"}},
		Capacity:  corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}},
		NodeInfo: corev1.NodeSystemInfo{MachineID: "machine", KubeletVersion: "v1.36.3"},
	}
	if err := w.host.Status().Update(t.Context(), hostNode); err != nil {
		t.Fatalf("update the host node: %v", err)
	}
}

func (w *world) sleepEpoch(context.Context, tenants.Tenant) (int64, error) {
	return w.epoch.Load(), nil
}

// start starts the agent's engine; restart is a crash of the agent: nothing of its memory is left.
func (w *world) start(t *testing.T) {
	t.Helper()
	ranges := hostranges.NewSource(w.host, w.now)
	ensurer := namespaces.New(newClient(t, w.hostConfig), namespaces.Options{Ranges: ranges})
	kinds := append(pod.NewKinds(pod.Options{Now: w.now, Labels: networkpolicy.PodLabels, Epoch: w.sleepEpoch}),
		namespace.New(ensurer, ranges), node.New(nil), networkpolicy.New(networkpolicy.Options{Ranges: ranges}))
	e, err := engine.New(w.hostConfig, w.registry, kinds, engine.Options{Namespaces: ensurer, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err != nil {
		t.Fatalf("make the engine: %v", err)
	}
	ranges.Follow(e.HostCache())
	w.engine = e
	ctx, cancel := context.WithCancel(context.Background()) // it outlives the subtest that restarts it
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run the engine: %v", err)
		}
		w.stop = func() {}
	}
}

func (w *world) restart(t *testing.T) {
	t.Helper()
	w.stop()
	w.start(t)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

func create(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %q: %v", object, object.GetName(), err)
	}
}

// seen waits until the engine's cache shows a new object of the host.
func (w *world) seen(t *testing.T, hostObject client.Object) {
	t.Helper()
	empty, _ := hostObject.DeepCopyObject().(client.Object)
	eventually(t, "the engine sees "+hostObject.GetName(), func(ctx context.Context) error {
		return w.engine.HostCache().Get(ctx, client.ObjectKeyFromObject(hostObject), empty)
	})
}

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(pollPeriod):
		}
	}
}

// namespace makes a namespace in the tenant and returns its name, when pods can be made in it.
func (w *world) namespace(t *testing.T, name string) string {
	t.Helper()
	create(t, w.tenant, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "blue"}}})
	eventually(t, "default service account", func(ctx context.Context) error {
		return w.tenant.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
	})
	return name
}

func newPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.test/app:1"}}},
	}
}

func hostKey(virtualPod *corev1.Pod) client.ObjectKey {
	return client.ObjectKey{Namespace: mapping.HostNamespace(tenantID, virtualPod.Namespace), Name: virtualPod.Name}
}

// hostPod waits for the host pod of exactly this tenant pod.
func (w *world) hostPod(t *testing.T, virtualPod *corev1.Pod) *corev1.Pod {
	t.Helper()
	hostPod := &corev1.Pod{}
	eventually(t, "host pod of "+virtualPod.Name, func(ctx context.Context) error {
		if err := w.host.Get(ctx, hostKey(virtualPod), hostPod); err != nil {
			return err
		}
		if hostPod.Annotations[mapping.AnnotationTenantUID] != string(virtualPod.UID) {
			return fmt.Errorf("the host pod is that of %s, want %s", hostPod.Annotations[mapping.AnnotationTenantUID], virtualPod.UID)
		}
		return nil
	})
	return hostPod
}

// virtualPod waits until the tenant's pod is as wanted.
func (w *world) virtualPod(t *testing.T, pod *corev1.Pod, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	current := &corev1.Pod{}
	eventually(t, fmt.Sprintf("tenant pod %s: %s", pod.Name, what), func(ctx context.Context) error {
		if err := w.tenant.Get(ctx, client.ObjectKeyFromObject(pod), current); err != nil {
			return err
		}
		if !wanted(current) {
			return fmt.Errorf("it is now: node %q, deletion %v, annotations %v, status %+v", current.Spec.NodeName, current.DeletionTimestamp, current.Annotations, current.Status)
		}
		return nil
	})
	return current
}

func (w *world) gone(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	uid := object.GetUID()
	eventually(t, fmt.Sprintf("%T %s gone", object, object.GetName()), func(ctx context.Context) error {
		current, _ := object.DeepCopyObject().(client.Object)
		err := c.Get(ctx, client.ObjectKeyFromObject(object), current)
		if apierrors.IsNotFound(err) || err == nil && current.GetUID() != uid {
			return nil
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("it still exists, deletion %v", current.GetDeletionTimestamp())
	})
}

// schedule plays the host's scheduler.
func (w *world) schedule(t *testing.T, hostPod *corev1.Pod) {
	t.Helper()
	err := w.host.SubResource("binding").Create(t.Context(), hostPod, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostPod.Namespace, Name: hostPod.Name},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
	})
	if err != nil {
		t.Fatalf("schedule: %v", err)
	}
}

// kubelet plays the host's kubelet: it writes a phase, and readiness where the pod runs.
func (w *world) kubelet(t *testing.T, hostPod *corev1.Pod, phase corev1.PodPhase) {
	t.Helper()
	ready := corev1.ConditionFalse
	if phase == corev1.PodRunning {
		ready = corev1.ConditionTrue
	}
	eventually(t, "write the host pod's status", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
			return err
		}
		hostPod.Status.Phase, hostPod.Status.PodIP, hostPod.Status.HostIP = phase, "192.0.2.10", "192.0.2.1"
		hostPod.Status.PodIPs, hostPod.Status.HostIPs = []corev1.PodIP{{IP: "192.0.2.10"}}, []corev1.HostIP{{IP: "192.0.2.1"}}
		now := metav1.Now()
		hostPod.Status.StartTime = &now
		hostPod.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
		}
		for _, container := range hostPod.Spec.Containers {
			state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
			if phase != corev1.PodRunning {
				state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", FinishedAt: now}}
			}
			hostPod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container.Name, Image: container.Image, Ready: phase == corev1.PodRunning, State: state}}
		}
		return w.host.Status().Update(ctx, hostPod)
	})
}

// kubeletEnds plays the end of a host pod that is being deleted.
func (w *world) kubeletEnds(t *testing.T, hostPod *corev1.Pod) {
	t.Helper()
	err := w.host.Delete(t.Context(), hostPod, client.GracePeriodSeconds(0), client.Preconditions{UID: &hostPod.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatalf("end the host pod: %v", err)
	}
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// running makes a tenant pod and brings it to Ready.
func (w *world) running(t *testing.T, virtualPod *corev1.Pod) (virtual, host *corev1.Pod) {
	t.Helper()
	create(t, w.tenant, virtualPod)
	hostPod := w.hostPod(t, virtualPod)
	w.schedule(t, hostPod)
	w.kubelet(t, hostPod, corev1.PodRunning)
	return w.virtualPod(t, virtualPod, "ready", isReady), hostPod
}

func (w *world) eventOn(t *testing.T, object client.Object, reason string) {
	t.Helper()
	eventually(t, "event "+reason+" on "+object.GetName(), func(ctx context.Context) error {
		events := &corev1.EventList{}
		if err := w.tenant.List(ctx, events, client.InNamespace(object.GetNamespace())); err != nil {
			return err
		}
		var seen []string
		for _, event := range events.Items {
			if event.InvolvedObject.UID != object.GetUID() {
				continue
			}
			if strings.Contains(event.Message, "vc-"+tenantID) {
				t.Errorf("the event leaks a host name: %s", event.Message)
			}
			if event.Reason == reason {
				return nil
			}
			seen = append(seen, event.Reason+": "+event.Message)
		}
		return fmt.Errorf("only %q", seen)
	})
}
