package pod

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// reasonUnplaced is told of a pod whose node the tenant's scheduler has chosen and the host's scheduler does not confirm.
const reasonUnplaced = "HostUnschedulable"

const (
	// unplacedAfter is how long the host may take: somebody's pod may just be ending there.
	unplacedAfter = 15 * time.Second
	// unplacedEvery is how often it is told again.
	unplacedEvery = 10 * time.Minute
)

// unplaced tells the tenant of a pod for which the host has no room where the tenant's scheduler has put it. The pod is kept: a
// binding cannot be taken back, and only its owner may delete it. It returns when to look again; 0 means not by itself.
func (k *kind) unplaced(scope *engine.Scope, virtualPod, hostPod *corev1.Pod) time.Duration {
	refused := unschedulable(hostPod)
	if refused == nil {
		return 0
	}
	if wait := unplacedAfter - k.now().Sub(refused.LastTransitionTime.Time); wait > 0 {
		return wait
	}
	if !k.marks.mayTell(scope.Tenant.UID, engine.KeyOf(virtualPod), k.now()) {
		return unplacedEvery
	}
	scope.Event(virtualPod, corev1.EventTypeWarning, reasonUnplaced, fmt.Sprintf(
		"the host cannot place the pod on node %q, which the scheduler of this virtual cluster chose: %s. It waits for room there; delete it to have a node chosen again",
		virtualPod.Spec.NodeName, strings.TrimRight(refused.Message, ". ")))
	return unplacedEvery
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
