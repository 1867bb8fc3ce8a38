package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestGatesOfTheHostStayTheHosts: a pod that names Ready and its like as readiness gates does not write them on the host.
func TestGatesOfTheHostStayTheHosts(t *testing.T) {
	theirs := []corev1.PodConditionType{
		corev1.PodReady, corev1.ContainersReady, corev1.PodInitialized, corev1.PodScheduled, corev1.PodReadyToStartContainers,
		corev1.DisruptionTarget, corev1.PodResizePending, corev1.PodResizeInProgress,
	}
	virtualPod := testPod(func(s *corev1.PodSpec) {
		for _, condition := range append(theirs, "gate") {
			s.ReadinessGates = append(s.ReadinessGates, corev1.PodReadinessGate{ConditionType: condition})
		}
	})
	hostPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "h-1"}}
	for _, condition := range append(theirs, "gate") {
		virtualPod.Status.Conditions = append(virtualPod.Status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionTrue})
		hostPod.Status.Conditions = append(hostPod.Status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionFalse})
	}
	var want []corev1.PodCondition
	for _, condition := range hostPod.Status.Conditions {
		if condition.Type == "gate" {
			condition.Status = corev1.ConditionTrue
		}
		want = append(want, condition)
	}
	if diff := cmp.Diff(want, gatesDown(virtualPod, hostPod)); diff != "" {
		t.Errorf("down (-want +got):\n%s", diff)
	}
	up := statusUp(virtualPod, hostPod, nil, func(text string) string { return text })
	if diff := cmp.Diff(want, up.Conditions); diff != "" {
		t.Errorf("up (-want +got):\n%s", diff)
	}
}

// TestAGenerationIsSeenWithItsChanges: who waits for observedGeneration after a change must not be told that the kubelet has
// seen it while the host pod does not have it yet.
func TestAGenerationIsSeenWithItsChanges(t *testing.T) {
	withCPU := func(quantity string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(quantity)}}
	}
	seconds := int64(5)
	for name, change := range map[string]func(*corev1.Pod){
		"resources": func(p *corev1.Pod) { p.Spec.Containers[0].Resources = withCPU("20m") },
		"image":     func(p *corev1.Pod) { p.Spec.Containers[0].Image = "registry.k8s.io/pause:2" },
		"deadline":  func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = &seconds },
		"toleration": func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "example.com/a", Operator: corev1.TolerationOpExists})
		},
		"debug container": func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
		},
		"deletion": func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			virtualPod := testPod(func(s *corev1.PodSpec) { s.Containers[0].Resources = withCPU("10m") })
			virtualPod.Generation, virtualPod.Status.ObservedGeneration = 2, 1
			hostPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "h-1", Generation: 5}, Spec: *virtualPod.Spec.DeepCopy()}
			hostPod.Status.ObservedGeneration = 5
			hostPod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, ObservedGeneration: 5}}
			change(virtualPod)
			see := func(want int64) {
				t.Helper()
				up := statusUp(virtualPod, hostPod, nil, func(text string) string { return text })
				if up.ObservedGeneration != want || up.Conditions[0].ObservedGeneration != want {
					t.Errorf("seen is %d, and in the condition %d; want %d", up.ObservedGeneration, up.Conditions[0].ObservedGeneration, want)
				}
			}
			see(1)
			change(hostPod)
			see(2)
			hostPod.Generation++
			see(1)
		})
	}
}

// TestAResizeEndsInTheTenantToo: only a kubelet says that a resize goes on, so it is over when the host pod says no more of it.
func TestAResizeEndsInTheTenantToo(t *testing.T) {
	virtualPod := testPod(func(*corev1.PodSpec) {})
	for _, condition := range []corev1.PodConditionType{corev1.PodResizePending, corev1.PodResizeInProgress, corev1.DisruptionTarget} {
		virtualPod.Status.Conditions = append(virtualPod.Status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionTrue})
	}
	hostPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "h-1"}}
	up := statusUp(virtualPod, hostPod, nil, func(text string) string { return text })
	want := []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}
	if diff := cmp.Diff(want, up.Conditions); diff != "" {
		t.Errorf("up (-want +got):\n%s", diff)
	}
}
