package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/matryoshka-dev/matryoshka/internal/image"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// startTimeout is how long a workload may take on a machine that is busy with other tests.
const startTimeout = 5 * time.Minute

// eventually asks until there is no error; the last one is the reason when the time is over.
func eventually(t testing.TB, atMost time.Duration, ask func(context.Context) error) {
	t.Helper()
	eventuallyEvery(t, 200*time.Millisecond, atMost, ask)
}

// eventuallyEvery is for what takes minutes, or costs much to ask.
func eventuallyEvery(t testing.TB, pause, atMost time.Duration, ask func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), pause, atMost, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %v", atMost, errors.Join(last, t.Context().Err()))
	}
}

// podReady waits until a pod is Ready, and returns it.
func (v *tenant) podReady(t testing.TB, namespace, name string) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		if pod, err = v.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod %q is not Ready: %s", name, describe(pod))
	})
	return pod
}

func describe(pod *corev1.Pod) string {
	text := string(pod.Status.Phase) + " " + pod.Status.Reason + " " + pod.Status.Message
	for _, container := range pod.Status.ContainerStatuses {
		switch state := container.State; {
		case state.Waiting != nil:
			text += fmt.Sprintf("; %s waits: %s %s", container.Name, state.Waiting.Reason, state.Waiting.Message)
		case state.Terminated != nil:
			text += fmt.Sprintf("; %s ended: %d %s", container.Name, state.Terminated.ExitCode, state.Terminated.Message)
		}
	}
	return text
}

// deploymentReady waits until all replicas of the newest generation are available.
func (v *tenant) deploymentReady(t testing.TB, namespace, name string) *appsv1.Deployment {
	t.Helper()
	var deployment *appsv1.Deployment
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		if deployment, err = v.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		status := deployment.Status
		if status.ObservedGeneration < deployment.Generation || status.AvailableReplicas != *deployment.Spec.Replicas {
			return fmt.Errorf("deployment %q has %d of %d replicas available", name, status.AvailableReplicas, *deployment.Spec.Replicas)
		}
		return nil
	})
	return deployment
}

// onlyPod is the one running pod that a selector matches.
func (v *tenant) onlyPod(t testing.TB, namespace, selector string) *corev1.Pod {
	t.Helper()
	pods, err := v.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("%d pods match %q in namespace %q; want 1", len(pods.Items), selector, namespace)
	}
	return &pods.Items[0]
}

var imageMark = regexp.MustCompile(`IMAGE\(([a-z]+)\)`)

// withImages puts the full names of the product's images into a manifest.
func withImages(manifest string) string {
	tag := version.Version
	if built := os.Getenv("VERSION"); built != "" {
		tag = built
	}
	return imageMark.ReplaceAllStringFunc(manifest, func(mark string) string {
		return image.Reference(imageMark.FindStringSubmatch(mark)[1], tag)
	})
}
