package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/event"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/node"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolume"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolumeclaim"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/pod"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/storageclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/nodeusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// schedulingWorld is a host with two nodes for two tenants, and one for nobody. All three clusters have a real scheduler; the test
// plays the kubelets.
type schedulingWorld struct {
	*world         // the host, and the first tenant
	other          client.Client
	otherNamespace string // the host's of the other tenant's namespace default
	hostNamespace  string // the host's of the first tenant's namespace default
}

// hostCPU is what each node of the host has; the pods of the tests come and go within.
const (
	hostCPU     = "4"
	overlayName = corev1.ResourceName("example.com/mine")
)

func newSchedulingWorld(t *testing.T) *schedulingWorld {
	t.Helper()
	scheduled := testenv.WithConfig(func(c *config.ControlPlane) { c.Scheduler = true })
	host := testenv.StartHost(t, scheduled)
	first, other := testenv.StartTenant(t, scheduled), testenv.StartTenant(t, scheduled)
	w := &schedulingWorld{
		world: &world{hostConfig: host, host: newClient(t, host), virtual: newClient(t, first)}, other: newClient(t, other),
	}
	forTenants := map[string]string{"for": "tenants"}
	spec := clusterv1alpha1.VirtualClusterSpec{
		Scheduling: clusterv1alpha1.SchedulingTenant, Nodes: clusterv1alpha1.Nodes{Mode: clusterv1alpha1.NodesAll, Selector: forTenants},
	}
	w.tenant = tenants.Tenant{
		ID: "x7k2p5q4", UID: "6f1f2b4e-0000-4000-8000-000000000001", Namespace: "demo", Name: "hello", VirtualConfig: first, Ready: true,
		ServiceAddress: "10.96.0.77", Spec: spec,
	}
	otherTenant := tenants.Tenant{
		ID: "aaaabbbb", UID: "6f1f2b4e-0000-4000-8000-000000000002", Namespace: "demo", Name: "other", VirtualConfig: other, Ready: true,
		ServiceAddress: "10.96.0.78", Spec: spec,
	}
	w.agentConfig = w.beAgent(t)
	w.ensurer = namespaces.New(newClient(t, w.agentConfig), namespaces.Options{})
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-system"}})
	create(t, w.host, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "matryoshka-system", Name: "matryoshka-dns"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.53", Ports: []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP}}},
	})
	w.hostNode(t, "node-1", forTenants)
	w.hostNode(t, "node-2", forTenants)
	w.hostNode(t, "node-3", nil)
	w.serve(t, w.tenant, otherTenant)
	for tenant, namespace := range map[*tenants.Tenant]*string{&w.tenant: &w.hostNamespace, &otherTenant: &w.otherNamespace} {
		var err error
		if *namespace, err = w.ensurer.Ensure(t.Context(), *tenant, "default"); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// hostNode makes a node of the host that is ready, as its kubelet does.
func (w *schedulingWorld) hostNode(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[corev1.LabelHostname] = name
	hostNode := create(t, w.host, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	changeStatus(t, w.host, hostNode, func(hostNode *corev1.Node) {
		hostNode.Status.Capacity = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(hostCPU), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("20"),
		}
		hostNode.Status.Allocatable = hostNode.Status.Capacity
		hostNode.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		hostNode.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "203.0.113.5"}}
	})
	change(t, w.host, hostNode, func(hostNode *corev1.Node) { hostNode.Spec.Taints = nil })
}

// serve runs the parts of the agent that the tests are about.
func (w *schedulingWorld) serve(t *testing.T, served ...tenants.Tenant) {
	t.Helper()
	registry := tenants.NewRegistry()
	for _, tenant := range served {
		registry.Set(tenant)
	}
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	usage := nodeusage.New(w.agentConfig, 200*time.Millisecond)
	kinds := append(pod.NewKinds(pod.Options{}), node.New(usage), persistentvolumeclaim.New(), persistentvolume.New(), storageclass.New(), event.New())
	agent, err := engine.New(w.agentConfig, registry, kinds, engine.Options{
		Namespaces: w.ensurer, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- agent.Run(ctx) }()
	go func() {
		ended <- usage.Run(ctx, func(name string) { agent.Wake(node.Name, engine.Key{Name: name}, node.SchedulesItself) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Errorf("the agent ended with: %v", err)
		}
	})
	for _, tenant := range served {
		eventually(t, "the tenant is served", func() error { return expect(agent.Synced(tenant.UID), "not yet") })
	}
}

// podOf is a pod that asks for so much CPU; edits are what a test is about.
func podOf(name, cpu string, edits ...func(*corev1.PodSpec)) *corev1.Pod {
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: pointer(int64(1)),
			AutomountServiceAccountToken:  pointer(false),
			Containers: []corev1.Container{{Name: "main", Image: "web", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)},
			}}},
		},
	}
	for _, edit := range edits {
		edit(&made.Spec)
	}
	return made
}

// awaitNode waits until a pod has a node on its side, and returns the name.
func awaitNode(t *testing.T, in client.Client, namespace, name string) string {
	t.Helper()
	bound := await(t, in, client.ObjectKey{Namespace: namespace, Name: name}, &corev1.Pod{}, func(pod *corev1.Pod) error {
		return expect(pod.Spec.NodeName != "", "no node; conditions %+v", pod.Status.Conditions)
	})
	return bound.Spec.NodeName
}

// awaitPlaced waits until both sides have put a pod of the first tenant on one node, and returns the host pod.
func (w *schedulingWorld) awaitPlaced(t *testing.T, name, wantNode string) *corev1.Pod {
	t.Helper()
	chosen := awaitNode(t, w.virtual, "default", name)
	if wantNode != "" && chosen != wantNode {
		t.Fatalf("the tenant's scheduler has put pod %q on %q, want %q", name, chosen, wantNode)
	}
	if confirmed := awaitNode(t, w.host, w.hostNamespace, name); confirmed != chosen {
		t.Fatalf("pod %q is on %q in the tenant and on %q on the host", name, chosen, confirmed)
	}
	hostPod := &corev1.Pod{}
	if err := w.host.Get(t.Context(), client.ObjectKey{Namespace: w.hostNamespace, Name: name}, hostPod); err != nil {
		t.Fatal(err)
	}
	return hostPod
}

// end deletes a tenant's pod and plays the kubelet that ends its host pod.
func end(t *testing.T, virtual, host client.Client, hostNamespace, name string) {
	t.Helper()
	virtualPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := client.IgnoreNotFound(virtual.Delete(t.Context(), virtualPod)); err != nil {
		t.Fatal(err)
	}
	stopHostPod(t, host, hostNamespace, name)
	awaitGone(t, virtual, client.ObjectKeyFromObject(virtualPod), virtualPod)
}

func stopHostPod(t *testing.T, host client.Client, hostNamespace, name string) {
	t.Helper()
	hostPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name}}
	eventually(t, fmt.Sprintf("the end of host pod %q", name), func() error {
		err := host.Get(t.Context(), client.ObjectKeyFromObject(hostPod), hostPod)
		if err != nil {
			return client.IgnoreNotFound(err)
		}
		if hostPod.DeletionTimestamp == nil {
			return errors.New("the agent has not deleted it")
		}
		return client.IgnoreNotFound(host.Delete(t.Context(), hostPod, client.GracePeriodSeconds(0)))
	})
}

// awaitUnscheduled waits until a tenant's scheduler says that it finds no node for a pod, and returns its words.
func awaitUnscheduled(t *testing.T, virtual client.Client, name string) string {
	t.Helper()
	says := ""
	await(t, virtual, client.ObjectKey{Namespace: "default", Name: name}, &corev1.Pod{}, func(pod *corev1.Pod) error {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
				says = condition.Message
				return nil
			}
		}
		return fmt.Errorf("node %q, conditions %+v", pod.Spec.NodeName, pod.Status.Conditions)
	})
	awaitEventOn(t, virtual, name, "FailedScheduling")
	return says
}

func awaitEventOn(t *testing.T, virtual client.Client, name, reason string) string {
	t.Helper()
	message := ""
	eventually(t, fmt.Sprintf("event %s on %s", reason, name), func() error {
		events := &corev1.EventList{}
		if err := virtual.List(t.Context(), events, client.InNamespace("default"), client.MatchingFields{"involvedObject.name": name, "reason": reason}); err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return errors.New("no such event")
		}
		message = events.Items[0].Message
		return nil
	})
	return message
}

// awaitAllocatable waits until a tenant is shown so much of a resource of a node.
func awaitAllocatable(t *testing.T, virtual client.Client, name string, of corev1.ResourceName, want string) {
	t.Helper()
	await(t, virtual, client.ObjectKey{Name: name}, &corev1.Node{}, func(virtualNode *corev1.Node) error {
		have := virtualNode.Status.Allocatable[of]
		return expect(have.Cmp(resource.MustParse(want)) == 0, "allocatable %s of %s is %s, want %s", of, name, have.String(), want)
	})
}

// awaitFull waits until a tenant's scheduler finds no room for so much on a node. What the test sees of the node its scheduler
// may not have seen yet.
func awaitFull(t *testing.T, virtual, host client.Client, hostNamespace, nodeName, cpu string) {
	t.Helper()
	eventually(t, fmt.Sprintf("no room for %s on %s", cpu, nodeName), func() error {
		probe := create(t, virtual, podOf("probe", cpu, func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{corev1.LabelHostname: nodeName} }))
		decided := await(t, virtual, client.ObjectKeyFromObject(probe), probe, func(pod *corev1.Pod) error {
			return expect(pod.Spec.NodeName != "" || len(pod.Status.Conditions) > 0, "the scheduler has not decided")
		})
		end(t, virtual, host, hostNamespace, probe.Name)
		return expect(decided.Spec.NodeName == "", "there is room")
	})
}

func patchNode(t *testing.T, in client.Client, name, content string, subresource string) {
	t.Helper()
	target := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	patch := client.RawPatch(types.StrategicMergePatchType, []byte(content))
	var err error
	if subresource == "" {
		err = in.Patch(t.Context(), target, patch)
	} else {
		err = in.SubResource(subresource).Patch(t.Context(), target, patch)
	}
	if err != nil {
		t.Fatalf("patch node %q: %v", name, err)
	}
}
