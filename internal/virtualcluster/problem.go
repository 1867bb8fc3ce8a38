package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// podExpected is how long after the StatefulSet its pod may be missing without anybody asking why.
const podExpected = 2 * time.Second

// podProblem says what keeps the control plane's pod from running; empty when nothing is known.
func (r *Reconciler) podProblem(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, waited time.Duration) string {
	pods, err := r.controlPods(ctx, vc)
	if err != nil {
		return ""
	}
	if len(pods) == 0 && waited > podExpected {
		return r.creationProblem(ctx, vc)
	}
	for _, pod := range pods {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
				return fmt.Sprintf("The pod %s/%s is not scheduled: %s", pod.Namespace, pod.Name, condition.Message)
			}
		}
		for _, container := range pod.Status.ContainerStatuses {
			if waiting := container.State.Waiting; waiting != nil && waiting.Message != "" {
				return fmt.Sprintf("The pod %s/%s waits: %s: %s", pod.Namespace, pod.Name, waiting.Reason, waiting.Message)
			}
		}
	}
	return ""
}

// creationProblem says why the host makes no pod: a quota, a policy or a webhook of the host refuses it, or the claim of
// its volume. Only the StatefulSet controller hears of that, and tells it in an event.
func (r *Reconciler) creationProblem(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) string {
	var events corev1.EventList
	err := r.host.List(ctx, &events, client.InNamespace(mapping.ControlNamespace(vc.Status.ID)), client.MatchingFields{
		"involvedObject.kind": "StatefulSet", "involvedObject.name": controlPlaneName, "reason": "FailedCreate",
	})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	latest := events.Items[0]
	for _, event := range events.Items[1:] {
		if latest.LastTimestamp.Before(&event.LastTimestamp) {
			latest = event
		}
	}
	return "The host makes no pod for the control plane: " + latest.Message
}
