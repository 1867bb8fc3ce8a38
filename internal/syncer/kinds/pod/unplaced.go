package pod

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// reasonUnplaced is told of a pod whose node the tenant has chosen and the host's scheduler does not confirm.
const reasonUnplaced = "HostUnschedulable"

const (
	// unplacedAfter is how long the host may take: somebody's pod may just be ending there.
	unplacedAfter = 15 * time.Second
	// unplacedEvery is how often it is told again.
	unplacedEvery = 10 * time.Minute
)

// unplaced is for a pod for which the host has no room where the tenant's scheduler has put it, or where it was before it slept: the
// tenant is told, and the pod is kept, since a binding cannot be taken back and only its owner may delete it. One whose author
// has written the node down, past every scheduler, fails, as a kubelet refuses it. It returns when to look again; 0 means not by itself.
func (k *kind) unplaced(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (time.Duration, error) {
	refused := unschedulable(hostPod)
	if refused == nil {
		return 0, nil
	}
	if wait := unplacedAfter - k.now().Sub(refused.LastTransitionTime.Time); wait > 0 {
		return wait, nil
	}
	if !wasScheduled(virtualPod) {
		message := scope.Redact(fmt.Sprintf("the host cannot place the pod on node %q, which its author chose: %s", virtualPod.Spec.NodeName, refused.Message))
		return 0, k.writeEnd(ctx, scope, virtualPod, failed(virtualPod, reasonUnplaced, message, metav1.NewTime(k.now())))
	}
	if !k.marks.mayTell(scope.Tenant.UID, engine.KeyOf(virtualPod), k.now()) {
		return unplacedEvery, nil
	}
	why := "which the scheduler of this virtual cluster chose"
	if _, ok := hostPod.Annotations[mapping.AnnotationSleptThrough]; ok {
		why = "where it was before this virtual cluster slept"
	}
	scope.Event(virtualPod, corev1.EventTypeWarning, reasonUnplaced, fmt.Sprintf(
		"the host cannot place the pod on node %q, %s: %s. It waits for room there; delete it to have a node chosen again",
		virtualPod.Spec.NodeName, why, strings.TrimRight(refused.Message, ". ")))
	return unplacedEvery, nil
}

// wasScheduled tells whether the pod has had its node from a scheduler, by a binding, or has run there. Both leave this condition.
func wasScheduled(virtualPod *corev1.Pod) bool {
	return isHostCondition(corev1.PodScheduled, virtualPod.Status.Conditions)
}

// wasRefused tells whether unplaced has ended the pod. Its host pod must not begin to run when there is room.
func wasRefused(virtualPod *corev1.Pod) bool {
	return isTerminal(virtualPod) && virtualPod.Status.Reason == reasonUnplaced
}

// unschedulable is the condition by which a scheduler says that it finds no node, or nil.
func unschedulable(hostPod *corev1.Pod) *corev1.PodCondition {
	for index := range hostPod.Status.Conditions {
		condition := &hostPod.Status.Conditions[index]
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable {
			return condition
		}
	}
	return nil
}

// sooner is the earlier of two times to look again, of which 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
