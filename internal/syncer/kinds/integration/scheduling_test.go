package integration

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// TestOwnScheduling runs the schedulers of a host and of two tenants against each other. Its parts use the same nodes, one after
// the other, and leave no pod behind.
func TestOwnScheduling(t *testing.T) {
	w := newSchedulingWorld(t)
	t.Run("capacity", w.testCapacity)
	t.Run("control plane counts", w.testControlPlaneCounts)
	t.Run("labels", w.testOverlayLabels)
	t.Run("taints", w.testOverlayTaints)
	t.Run("extended resources", w.testOverlayResources)
	t.Run("preemption", w.testPreemption)
	t.Run("daemon set", w.testDaemonSet)
	t.Run("first consumer", w.testFirstConsumer)
	t.Run("no room on the host", w.testNoRoom)
	t.Run("nodes of others", w.testNodesOfOthers)
}

// A tenant sees what others leave, and its scheduler keeps to it; what others give back it may use.
func (w *schedulingWorld) testCapacity(t *testing.T) {
	for _, name := range []string{"node-1", "node-2"} {
		awaitAllocatable(t, w.virtual, name, corev1.ResourceCPU, hostCPU)
	}
	hosts := podOf("of-the-host", "3")
	hosts.Spec.NodeName = "node-1"
	create(t, w.host, hosts)
	awaitAllocatable(t, w.virtual, "node-1", corev1.ResourceCPU, "1")
	awaitAllocatable(t, w.virtual, "node-1", corev1.ResourcePods, "19")
	virtualNode := await(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{}, func(*corev1.Node) error { return nil })
	if got := virtualNode.Status.Capacity.Cpu().String(); got != hostCPU {
		t.Errorf("the capacity of the node is %s, want %s", got, hostCPU)
	}

	awaitFull(t, w.virtual, w.host, w.hostNamespace, "node-1", "3")
	create(t, w.virtual, podOf("fits", "3"))
	w.awaitPlaced(t, "fits", "node-2")
	awaitAllocatable(t, w.other, "node-2", corev1.ResourceCPU, "1")
	awaitAllocatable(t, w.virtual, "node-2", corev1.ResourceCPU, hostCPU) // its own pod its scheduler counts itself

	awaitFull(t, w.other, w.host, w.otherNamespace, "node-1", "2")
	awaitFull(t, w.other, w.host, w.otherNamespace, "node-2", "2")
	create(t, w.other, podOf("waits", "2"))
	if says := awaitUnscheduled(t, w.other, "waits"); !strings.Contains(says, "Insufficient cpu") {
		t.Errorf("the scheduler says %q", says)
	}
	never(t, w.host, client.ObjectKey{Namespace: w.otherNamespace, Name: "waits"}, &corev1.Pod{})
	end(t, w.virtual, w.host, w.hostNamespace, "fits")
	if chosen := awaitNode(t, w.other, "default", "waits"); chosen != "node-2" {
		t.Errorf("the pod is on %q, want node-2", chosen)
	}
	awaitNode(t, w.host, w.otherNamespace, "waits")
	end(t, w.other, w.host, w.otherNamespace, "waits")
	remove(t, w.host, hosts)
	for _, name := range []string{"node-1", "node-2"} {
		awaitAllocatable(t, w.virtual, name, corev1.ResourceCPU, hostCPU)
		awaitAllocatable(t, w.other, name, corev1.ResourceCPU, hostCPU)
	}
}

// The pod of a tenant's own control plane carries the tenant's labels, and the tenant does not see it.
func (w *schedulingWorld) testControlPlaneCounts(t *testing.T) {
	labels := w.ownerLabels("")
	delete(labels, mapping.LabelTenantNamespace)
	control := create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: mapping.ControlNamespace(w.tenant.ID), Labels: map[string]string{mapping.LabelKind: mapping.KindControl, mapping.LabelID: w.tenant.ID},
	}})
	eventually(t, "the ServiceAccount", func() error {
		return w.host.Get(t.Context(), client.ObjectKey{Namespace: control.Name, Name: "default"}, &corev1.ServiceAccount{})
	})
	pod := podOf("controlplane-0", "1")
	pod.Namespace, pod.Labels, pod.Spec.NodeName = control.Name, labels, "node-2"
	create(t, w.host, pod)
	awaitAllocatable(t, w.virtual, "node-2", corev1.ResourceCPU, "3")
	remove(t, w.host, pod)
	awaitAllocatable(t, w.virtual, "node-2", corev1.ResourceCPU, hostCPU)
}

// Labels that a tenant puts on nodes are its own: its scheduler goes by them, nobody else has them, and the host's flow on.
func (w *schedulingWorld) testOverlayLabels(t *testing.T) {
	patchNode(t, w.virtual, "node-2", `{"metadata":{"labels":{"mine":"yes"}}}`, "")
	patchNode(t, w.host, "node-2", `{"metadata":{"labels":{"tier":"gold"}}}`, "")
	has := func(want map[string]string) func(*corev1.Node) error {
		return func(node *corev1.Node) error {
			for key, value := range want {
				if node.Labels[key] != value {
					return fmt.Errorf("label %s is %q, want %q: %v", key, node.Labels[key], value, node.Labels)
				}
			}
			return nil
		}
	}
	key := client.ObjectKey{Name: "node-2"}
	await(t, w.virtual, key, &corev1.Node{}, has(map[string]string{"mine": "yes", "tier": "gold", corev1.LabelHostname: "node-2"}))
	await(t, w.other, key, &corev1.Node{}, has(map[string]string{"mine": "", "tier": "gold"}))
	if hostNode := await(t, w.host, key, &corev1.Node{}, has(map[string]string{"tier": "gold"})); hostNode.Labels["mine"] != "" {
		t.Error("the tenant's label is on the host's node")
	}
	create(t, w.virtual, podOf("selects", "100m", func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"mine": "yes"} }))
	if hostPod := w.awaitPlaced(t, "selects", "node-2"); len(hostPod.Spec.NodeSelector) != 0 {
		t.Errorf("the host pod selects %v", hostPod.Spec.NodeSelector)
	}
	// Spread over a label of the tenant's: one pod on each node, whichever comes first.
	patchNode(t, w.virtual, "node-1", `{"metadata":{"labels":{"rack":"a"}}}`, "")
	patchNode(t, w.virtual, "node-2", `{"metadata":{"labels":{"rack":"b"}}}`, "")
	nodes := map[string]bool{}
	for _, name := range []string{"spread-1", "spread-2"} {
		spread := podOf(name, "100m", func(s *corev1.PodSpec) {
			s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: "rack", WhenUnsatisfiable: corev1.DoNotSchedule,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "spread"}},
			}}
		})
		spread.Labels = map[string]string{"app": "spread"}
		create(t, w.virtual, spread)
		nodes[w.awaitPlaced(t, name, "").Spec.NodeName] = true
	}
	if len(nodes) != 2 {
		t.Errorf("both pods are on %v", nodes)
	}
	// The host's own labels are put back and go when the host takes them away; the tenant's stay.
	patchNode(t, w.virtual, "node-2", `{"metadata":{"labels":{"tier":null}}}`, "")
	await(t, w.virtual, key, &corev1.Node{}, has(map[string]string{"tier": "gold"}))
	patchNode(t, w.host, "node-2", `{"metadata":{"labels":{"tier":null}}}`, "")
	await(t, w.virtual, key, &corev1.Node{}, has(map[string]string{"mine": "yes", "tier": ""}))
	for _, name := range []string{"selects", "spread-1", "spread-2"} {
		end(t, w.virtual, w.host, w.hostNamespace, name)
	}
	patchNode(t, w.virtual, "node-2", `{"metadata":{"labels":{"mine":null}}}`, "")
	await(t, w.virtual, key, &corev1.Node{}, has(map[string]string{"mine": "", "rack": "b"}))
}

// Taints that a tenant puts on nodes, and its cordons, repel and evict its own pods and nobody else's.
func (w *schedulingWorld) testOverlayTaints(t *testing.T) {
	taint := func(effect corev1.TaintEffect) string {
		return fmt.Sprintf(`{"spec":{"taints":[{"key":"mine","effect":%q}]}}`, effect)
	}
	const none, hosts = `{"spec":{"taints":null}}`, `{"spec":{"taints":[{"key":"host","effect":"NoSchedule"}]}}`
	create(t, w.virtual, podOf("stays", "100m", func(s *corev1.PodSpec) {
		s.NodeSelector = map[string]string{corev1.LabelHostname: "node-2"}
		s.Tolerations = []corev1.Toleration{{
			Key: "mine", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: pointer(int64(3600)),
		}}
	}))
	staying := w.awaitPlaced(t, "stays", "")
	create(t, w.virtual, podOf("leaves", "100m"))
	w.awaitPlaced(t, "leaves", "")
	patchNode(t, w.virtual, "node-1", taint(corev1.TaintEffectNoExecute), "")
	patchNode(t, w.virtual, "node-2", taint(corev1.TaintEffectNoExecute), "")
	stopHostPod(t, w.host, w.hostNamespace, "leaves") // once the tenant's eviction has come down
	awaitGone(t, w.virtual, client.ObjectKey{Namespace: "default", Name: "leaves"}, &corev1.Pod{})

	create(t, w.virtual, podOf("repelled", "100m"))
	if says := awaitUnscheduled(t, w.virtual, "repelled"); !strings.Contains(says, "untolerated taint") {
		t.Errorf("the scheduler says %q", says)
	}
	create(t, w.other, podOf("unconcerned", "100m"))
	awaitNode(t, w.host, w.otherNamespace, "unconcerned")

	// What the host does meanwhile flows on, beside the tenant's.
	patchNode(t, w.host, "node-1", hosts, "")
	taints := func(want ...string) func(*corev1.Node) error {
		return func(node *corev1.Node) error {
			var have []string
			for _, taint := range node.Spec.Taints {
				have = append(have, taint.Key)
			}
			return expect(strings.Join(have, " ") == strings.Join(want, " "), "taints are %v, want %v", have, want)
		}
	}
	await(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{}, taints("host", "mine"))
	patchNode(t, w.virtual, "node-1", hosts, "") // without them all, its scheduler could be quicker than the agent
	await(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{}, taints("host"))
	patchNode(t, w.virtual, "node-2", `{"spec":{"taints":null,"unschedulable":true}}`, "")
	await(t, w.virtual, client.ObjectKey{Name: "node-2"}, &corev1.Node{}, func(node *corev1.Node) error {
		return expect(node.Spec.Unschedulable && len(node.Spec.Taints) == 0, "spec is %+v", node.Spec)
	})
	if hostNode := await(t, w.host, client.ObjectKey{Name: "node-2"}, &corev1.Node{}, taints()); hostNode.Spec.Unschedulable {
		t.Error("the tenant has cordoned the host's node")
	}
	// Once the tenant's taint controller has seen it, too: until then it would evict what comes there.
	if says := awaitEventOn(t, w.virtual, "stays", "TaintManagerEviction"); !strings.Contains(says, "Cancelling deletion") {
		t.Errorf("the taint controller says %q", says)
	}
	patchNode(t, w.virtual, "node-2", `{"spec":{"unschedulable":null}}`, "")
	w.awaitPlaced(t, "repelled", "node-2")

	after := w.awaitPlaced(t, "stays", "")
	if after.UID != staying.UID || after.DeletionTimestamp != nil {
		t.Error("a pod that tolerates the taint was evicted")
	}
	patchNode(t, w.host, "node-1", none, "")
	await(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{}, taints())
	end(t, w.virtual, w.host, w.hostNamespace, "stays")
	end(t, w.virtual, w.host, w.hostNamespace, "repelled")
	end(t, w.other, w.host, w.otherNamespace, "unconcerned")
}

// Resources that a tenant gives nodes are counted by its scheduler; the host is never asked for them.
func (w *schedulingWorld) testOverlayResources(t *testing.T) {
	await(t, w.virtual, client.ObjectKey{Name: "node-1"}, &corev1.Node{}, func(*corev1.Node) error { return nil })
	patchNode(t, w.virtual, "node-1", fmt.Sprintf(`{"status":{"capacity":{%q:"1"}}}`, overlayName), "status")
	awaitAllocatable(t, w.virtual, "node-1", overlayName, "1")
	wants := func(s *corev1.PodSpec) {
		one := resource.MustParse("1")
		s.Containers[0].Resources.Requests[overlayName] = one
		s.Containers[0].Resources.Limits = corev1.ResourceList{overlayName: one}
	}
	create(t, w.virtual, podOf("first", "100m", wants))
	hostPod := w.awaitPlaced(t, "first", "node-1")
	if _, asks := hostPod.Spec.Containers[0].Resources.Requests[overlayName]; asks {
		t.Errorf("the host pod asks for %v", hostPod.Spec.Containers[0].Resources)
	}
	create(t, w.virtual, podOf("second", "100m", wants))
	if says := awaitUnscheduled(t, w.virtual, "second"); !strings.Contains(says, "Insufficient "+string(overlayName)) {
		t.Errorf("the scheduler says %q", says)
	}
	end(t, w.virtual, w.host, w.hostNamespace, "first")
	w.awaitPlaced(t, "second", "node-1")
	end(t, w.virtual, w.host, w.hostNamespace, "second")
}

// A tenant's scheduler makes room among the tenant's own pods, by classes that the host does not know.
func (w *schedulingWorld) testPreemption(t *testing.T) {
	create(t, w.virtual, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "urgent"}, Value: 1000})
	onNode1 := func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{corev1.LabelHostname: "node-1"} }
	create(t, w.virtual, podOf("patient", "3", onNode1))
	w.awaitPlaced(t, "patient", "node-1")
	create(t, w.other, podOf("bystander", "500m", onNode1))
	awaitNode(t, w.host, w.otherNamespace, "bystander")
	create(t, w.virtual, podOf("urgent", "3", onNode1, func(s *corev1.PodSpec) { s.PriorityClassName = "urgent" }))
	stopHostPod(t, w.host, w.hostNamespace, "patient") // once the tenant's scheduler has had it deleted
	w.awaitPlaced(t, "urgent", "node-1")
	bystander := &corev1.Pod{}
	if err := w.other.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "bystander"}, bystander); err != nil || bystander.DeletionTimestamp != nil {
		t.Errorf("the pod of another tenant was preempted (%v)", err)
	}
	end(t, w.virtual, w.host, w.hostNamespace, "urgent")
	end(t, w.other, w.host, w.otherNamespace, "bystander")
}

// A DaemonSet has a pod on every node that the tenant may use.
func (w *schedulingWorld) testDaemonSet(t *testing.T) {
	template := podOf("", "50m")
	create(t, w.virtual, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "everywhere"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "everywhere"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "everywhere"}}, Spec: template.Spec},
		},
	})
	hostPods := &corev1.PodList{}
	eventually(t, "a host pod on each node", func() error {
		if err := w.host.List(t.Context(), hostPods, client.InNamespace(w.hostNamespace), client.MatchingLabels{"app": "everywhere"}); err != nil {
			return err
		}
		nodes := map[string]bool{}
		for _, hostPod := range hostPods.Items {
			nodes[hostPod.Spec.NodeName] = true
		}
		return expect(nodes["node-1"] && nodes["node-2"] && len(hostPods.Items) == 2, "%d pods on %v", len(hostPods.Items), nodes)
	})
	remove(t, w.virtual, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "everywhere"}})
	for _, hostPod := range hostPods.Items {
		stopHostPod(t, w.host, w.hostNamespace, hostPod.Name)
	}
}

// The tenant's scheduler waits for a volume before it binds a pod, so that its choice must reach the host's provisioner without
// one.
func (w *schedulingWorld) testFirstConsumer(t *testing.T) {
	late := newClass("late")
	late.VolumeBindingMode = pointer(storagev1.VolumeBindingWaitForFirstConsumer)
	create(t, w.host, late)
	await(t, w.virtual, client.ObjectKey{Name: "late"}, &storagev1.StorageClass{}, func(*storagev1.StorageClass) error { return nil })
	create(t, w.virtual, newClaim("default", "data", "late"))
	create(t, w.virtual, podOf("consumer", "100m", func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}
	}))
	hostKey := client.ObjectKey{Namespace: w.hostNamespace, Name: "data"}
	const selectedNode = "volume.kubernetes.io/selected-node"
	chosen := func(hostClaim *corev1.PersistentVolumeClaim) error {
		return expect(hostClaim.Annotations[selectedNode] != "", "annotations %v", hostClaim.Annotations)
	}
	await(t, w.host, hostKey, &corev1.PersistentVolumeClaim{}, chosen)
	never(t, w.host, client.ObjectKey{Namespace: w.hostNamespace, Name: "consumer"}, &corev1.Pod{}) // until there is a volume
	// A provisioner that cannot make the volume there takes the choice out again; the tenant's scheduler chooses anew.
	hostClaim := change(t, w.host, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: hostKey.Namespace, Name: hostKey.Name}},
		func(hostClaim *corev1.PersistentVolumeClaim) { delete(hostClaim.Annotations, selectedNode) })
	hostClaim = await(t, w.host, hostKey, hostClaim, chosen)
	w.bind(t, hostKey, "pvc-late", corev1.PersistentVolumeReclaimDelete)
	await(t, w.virtual, client.ObjectKey{Namespace: "default", Name: "data"}, &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimBound))
	w.awaitPlaced(t, "consumer", hostClaim.Annotations[selectedNode])
	end(t, w.virtual, w.host, w.hostNamespace, "consumer")
}

// A tenant may write down a node on which the host has no room for a pod. It fails, as a kubelet refuses it, and the tenant is told.
func (w *schedulingWorld) testNoRoom(t *testing.T) {
	create(t, w.virtual, podOf("too-large", "5", func(s *corev1.PodSpec) { s.NodeName = "node-1" }))
	said := awaitEventOn(t, w.virtual, "too-large", "HostUnschedulable")
	if !strings.Contains(said, "node-1") || !strings.Contains(said, "Insufficient cpu") || strings.Contains(said, w.hostNamespace) {
		t.Errorf("the event says %q", said)
	}
	await(t, w.virtual, client.ObjectKey{Namespace: "default", Name: "too-large"}, &corev1.Pod{}, func(virtualPod *corev1.Pod) error {
		return expect(virtualPod.Status.Phase == corev1.PodFailed && virtualPod.Status.Reason == "HostUnschedulable" && virtualPod.DeletionTimestamp == nil,
			"it is %s (%s)", virtualPod.Status.Phase, virtualPod.Status.Reason)
	})
	awaitGone(t, w.host, client.ObjectKey{Namespace: w.hostNamespace, Name: "too-large"}, &corev1.Pod{})
	end(t, w.virtual, w.host, w.hostNamespace, "too-large")
}

// A tenant that makes up the Node of a machine which is not for tenants gets its scheduler to use it, and no further.
func (w *schedulingWorld) testNodesOfOthers(t *testing.T) {
	never(t, w.virtual, client.ObjectKey{Name: "node-3"}, &corev1.Node{})
	forged := create(t, w.virtual, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "node-3", Labels: map[string]string{"for": "tenants", "forged": "yes", corev1.LabelHostname: "node-3"},
	}})
	forged = changeStatus(t, w.virtual, forged, func(node *corev1.Node) {
		node.Status.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourcePods: resource.MustParse("100")}
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	})
	forged = change(t, w.virtual, forged, func(node *corev1.Node) { node.Spec.Taints = nil })
	create(t, w.virtual, podOf("intruder", "100m", func(s *corev1.PodSpec) {
		s.NodeSelector = map[string]string{"forged": "yes"}
		s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	}))
	if chosen := awaitNode(t, w.virtual, "default", "intruder"); chosen != "node-3" {
		t.Fatalf("the tenant's scheduler has chosen %q", chosen)
	}
	if said := awaitEventOn(t, w.virtual, "intruder", "HostUnschedulable"); !strings.Contains(said, "node-3") {
		t.Errorf("the event says %q", said)
	}
	waiting := &corev1.Pod{}
	if err := w.virtual.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "intruder"}, waiting); err != nil || waiting.Status.Phase == corev1.PodFailed {
		t.Errorf("a pod that a scheduler has placed does not wait: %s (%s), %v", waiting.Status.Phase, waiting.Status.Reason, err)
	}
	hostPod := &corev1.Pod{}
	if err := w.host.Get(t.Context(), client.ObjectKey{Namespace: w.hostNamespace, Name: "intruder"}, hostPod); err != nil || hostPod.Spec.NodeName != "" {
		t.Errorf("the host pod is on node %q (%v)", hostPod.Spec.NodeName, err)
	}
	end(t, w.virtual, w.host, w.hostNamespace, "intruder")
	remove(t, w.virtual, forged)
}
