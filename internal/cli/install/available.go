package install

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/await"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// AgentDeployment is the Deployment of the agent. DNSDeployment answers the names of all tenants.
const (
	AgentDeployment = "matryoshka-agent"
	DNSDeployment   = "matryoshka-dns"
)

// waitAvailable waits until the Deployments of the product are available.
func waitAvailable(ctx context.Context, hostClient client.WithWatch, detail func(string)) error {
	for _, name := range []string{AgentDeployment, DNSDeployment} {
		if err := WaitDeployment(ctx, hostClient, client.ObjectKey{Namespace: Namespace, Name: name}, detail); err != nil {
			return err
		}
	}
	return nil
}

// WaitDeployment waits until a Deployment has rolled out and is available, and says what its pods wait for.
func WaitDeployment(ctx context.Context, cluster client.WithWatch, key client.ObjectKey, detail func(string)) error {
	var last *appsv1.Deployment
	err := await.Until(ctx, cluster, key, &appsv1.DeploymentList{}, func(deployment *appsv1.Deployment, exists bool) (bool, error) {
		if !exists {
			detail(fmt.Sprintf("deployment %s does not exist yet", key.Name))
			return false, nil
		}
		last = deployment
		if isAvailable(deployment) {
			return true, nil
		}
		detail(fmt.Sprintf("%s: %d of %d pods available", key.Name, deployment.Status.AvailableReplicas, replicas(deployment)))
		return false, nil
	})
	if err == nil {
		return nil
	}
	return exit.WithNext(fmt.Errorf("wait until deployment %q is available: %w%s", key, err, podTrouble(ctx, cluster, last)),
		"`kubectl describe pods -n %s` shows why, `matry kubectl` is kubectl", key.Namespace)
}

// isAvailable tells whether all pods are of the current template and available.
func isAvailable(deployment *appsv1.Deployment) bool {
	status, wanted := deployment.Status, replicas(deployment)
	return status.ObservedGeneration >= deployment.Generation &&
		status.UpdatedReplicas >= wanted && status.AvailableReplicas >= wanted && status.Replicas == status.UpdatedReplicas
}

func replicas(deployment *appsv1.Deployment) int32 {
	if deployment.Spec.Replicas == nil {
		return 1
	}
	return *deployment.Spec.Replicas
}

// podTrouble says what keeps the pods of a Deployment from being ready, for an error that is about to be returned. It is
// empty when nothing is known.
func podTrouble(ctx context.Context, cluster client.Reader, deployment *appsv1.Deployment) string {
	if deployment == nil {
		return ""
	}
	// The wait may have ended with its context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	pods := &corev1.PodList{}
	err := cluster.List(ctx, pods, client.InNamespace(deployment.Namespace), client.MatchingLabels(deployment.Spec.Selector.MatchLabels))
	if err != nil {
		return ""
	}
	var trouble []string
	for i := range pods.Items {
		if text := troubleOf(&pods.Items[i]); text != "" {
			trouble = append(trouble, fmt.Sprintf("pod %s: %s", pods.Items[i].Name, text))
		}
	}
	if len(trouble) == 0 {
		return ""
	}
	return " (" + strings.Join(trouble, "; ") + ")"
}

func troubleOf(pod *corev1.Pod) string {
	for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if waiting := status.State.Waiting; waiting != nil && waiting.Message != "" {
			return waiting.Reason + ": " + waiting.Message
		}
		if ended := status.LastTerminationState.Terminated; ended != nil && !status.Ready {
			return fmt.Sprintf("restarted %d times, ended with exit code %d", status.RestartCount, ended.ExitCode)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return condition.Message
		}
	}
	return ""
}
