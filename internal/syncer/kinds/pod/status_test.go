package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
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
	up := statusUp(virtualPod, hostPod, func(text string) string { return text })
	if diff := cmp.Diff(want, up.Conditions); diff != "" {
		t.Errorf("up (-want +got):\n%s", diff)
	}
}
