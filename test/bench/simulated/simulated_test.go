package simulated

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

func TestPlacedPodsFitTheNodes(t *testing.T) {
	var spec corev1.PodSpec
	Place(&spec)
	node := newNode(3)
	for key, value := range spec.NodeSelector {
		if node.Labels[key] != value {
			t.Errorf("the node has not the label %s=%s: %v", key, value, node.Labels)
		}
	}
	if len(node.Spec.Taints) != 1 || len(spec.Tolerations) != 1 || spec.Tolerations[0].Key != node.Spec.Taints[0].Key {
		t.Errorf("taints %v, tolerations %v: other pods must stay away and these must not", node.Spec.Taints, spec.Tolerations)
	}
}

func TestPatchedPodIsReady(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", UID: "c"},
		Spec:       corev1.PodSpec{NodeName: nodeName(0), Containers: []corev1.Container{{Name: "one"}, {Name: "two"}}},
		Status: corev1.PodStatus{
			Phase:      corev1.PodPending,
			Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}},
		},
	}
	if isReady(pod) {
		t.Fatal("a pod that was just bound is Ready")
	}
	patch, err := runningPatch(pod, podAddress(7), metav1.NewTime(time.Unix(0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	before, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.Pod
	if err := json.Unmarshal(after, &got); err != nil {
		t.Fatal(err)
	}
	if got.Status.Phase != corev1.PodRunning || !isReady(&got) || len(got.Status.ContainerStatuses) != 2 {
		t.Errorf("got the status %+v", got.Status)
	}
	if got.Status.Conditions[len(got.Status.Conditions)-1].Type != corev1.PodScheduled && len(got.Status.Conditions) != 5 {
		t.Errorf("the scheduler's condition is lost: %+v", got.Status.Conditions)
	}
}

func TestPodsOfRealNodesAreLeft(t *testing.T) {
	own := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]())
	n := &Nodes{queues: map[string]queue{nodeName(0): own}}
	for _, name := range []string{"", "matryoshka", "simulated", nodeName(0)} {
		now := metav1.Now()
		n.enqueue(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", DeletionTimestamp: &now}, Spec: corev1.PodSpec{NodeName: name},
		})
		if taken := own.Len() > 0; taken != (name == nodeName(0)) {
			t.Errorf("a pod on node %q was taken for one of a simulated node: %t", name, taken)
		}
	}
}

func TestAddressesDiffer(t *testing.T) {
	seen := map[string]bool{}
	check := func(address string) {
		parsed, err := netip.ParseAddr(address)
		if err != nil || seen[address] || !netip.MustParsePrefix("198.18.0.0/15").Contains(parsed) {
			t.Fatalf("address %q: %v, or it was used before", address, err)
		}
		seen[address] = true
	}
	for i := range 100 {
		check(nodeAddress(i))
	}
	for i := range 12_500 {
		check(podAddress(i))
	}
}
