package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
)

// metricsTimeout holds two measurements of the host's metrics server, 15 seconds apart, on a busy machine.
const metricsTimeout = 5 * time.Minute

// A tenant sees what its own pods use, by kubectl top, and scales by it. It sees nothing of anybody else.
func TestMetricsAndAutoscaling(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "metrics")
	v.apply(t, namespace, testdata(t, "autoscaling.yaml"))
	v.deploymentReady(t, namespace, "busy")
	pod := v.onlyPod(t, namespace, "app=busy")

	eventually(t, metricsTimeout, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "top", "pods", "-n", namespace, "-l", "app=busy", "--containers", "--no-headers")
		if seen.err != nil {
			return seen.err
		}
		// Standard output is empty, without an error, until the pod is measured.
		if fields := strings.Fields(seen.stdout); len(fields) < 4 || fields[0] != pod.Name || fields[1] != "busy" {
			return fmt.Errorf("kubectl top pods says %q", seen.stdout)
		}
		return nil
	})
	if got := v.mustKubectl(t, "top", "nodes", "--no-headers"); len(strings.Fields(got)) != 5 {
		t.Errorf("kubectl top nodes says %q", got)
	}
	t.Run("only its own", func(t *testing.T) { ownMetricsOnly(t, v) })
	t.Run("a Deployment grows", func(t *testing.T) {
		eventually(t, metricsTimeout, func(ctx context.Context) error {
			scaler, err := v.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "busy", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if scaler.Status.DesiredReplicas != 2 {
				return fmt.Errorf("the autoscaler wants %d replicas: %+v", scaler.Status.DesiredReplicas, scaler.Status.Conditions)
			}
			return nil
		})
		if grown := v.deploymentReady(t, namespace, "busy"); *grown.Spec.Replicas != 2 {
			t.Errorf("%d replicas, want 2", *grown.Spec.Replicas)
		}
	})
}

// ownMetricsOnly compares with the host, where the pods of all tenants and of the product are measured.
func ownMetricsOnly(t *testing.T, v *tenant) {
	host := metricsclient.NewForConfigOrDie(v.host.config(t)).MetricsV1beta1()
	virtual := metricsclient.NewForConfigOrDie(v.config).MetricsV1beta1()
	all, err := host.PodMetricses("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{"matryoshka-agent-", "hello-"} {
		if !slices.ContainsFunc(all.Items, func(m metricsv1beta1.PodMetrics) bool { return strings.HasPrefix(m.Name, foreign) }) {
			t.Errorf("the host measures no pod %s…; the test would prove nothing", foreign)
		}
	}
	own, err := virtual.PodMetricses("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := v.client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range own.Items {
		measured := &own.Items[i]
		isOwn := func(pod corev1.Pod) bool { return pod.Namespace == measured.Namespace && pod.Name == measured.Name }
		// Pods of other tests come and go; what is foreign has one of these names.
		isForeign := strings.HasPrefix(measured.Name, "matryoshka-") || strings.HasPrefix(measured.Name, "hello-") || strings.HasPrefix(measured.Namespace, "vc")
		if isForeign && !slices.ContainsFunc(pods.Items, isOwn) {
			t.Errorf("the tenant sees the metrics of %s/%s", measured.Namespace, measured.Name)
		}
		for key := range measured.Labels {
			if strings.HasPrefix(key, "matryoshka.dev/") {
				t.Errorf("the metrics of %s/%s have the host's label %s", measured.Namespace, measured.Name, key)
			}
		}
	}
	hostNodes, err := host.NodeMetricses().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := virtual.NodeMetricses().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The machine uses gigabytes, the tenant's pods together some megabytes.
	if got, total := nodes.Items[0].Usage.Memory(), hostNodes.Items[0].Usage.Memory(); got.IsZero() || got.Value() > total.Value()/2 {
		t.Errorf("the tenant's node uses %s, the host's %s", got, total)
	}
}
