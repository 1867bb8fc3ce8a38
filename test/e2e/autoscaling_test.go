package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
	typedmetrics "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
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
	eventually(t, metricsTimeout, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "top", "nodes", "--no-headers")
		if seen.err == nil && len(strings.Fields(seen.stdout)) != 5 {
			return fmt.Errorf("kubectl top nodes says %q", seen.stdout)
		}
		return seen.err
	})
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
	var read usages
	var pods *corev1.PodList
	// The host's metrics server forgets all that it has measured when it misses one measurement, until it has made two again.
	eventually(t, metricsTimeout, func(ctx context.Context) (err error) {
		if read, err = readUsages(ctx, host, virtual); err != nil {
			return err
		}
		pods, err = v.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		return err
	})
	for i := range read.own.Items {
		measured := &read.own.Items[i]
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
	// The machine uses gigabytes, the tenant's pods together some megabytes.
	if got, total := read.ownNodes.Items[0].Usage.Memory(), read.nodes.Items[0].Usage.Memory(); got.Value() > total.Value()/2 {
		t.Errorf("the tenant's node uses %s, the host's %s", got, total)
	}
}

// usages are what the host shows of all, and a tenant of its own.
type usages struct {
	all, own        *metricsv1beta1.PodMetricsList
	nodes, ownNodes *metricsv1beta1.NodeMetricsList
}

// readUsages fails while there is too little of them to prove anything.
func readUsages(ctx context.Context, host, virtual typedmetrics.MetricsV1beta1Interface) (read usages, err error) {
	if read.all, err = host.PodMetricses("").List(ctx, metav1.ListOptions{}); err != nil {
		return read, err
	}
	if read.own, err = virtual.PodMetricses("").List(ctx, metav1.ListOptions{}); err != nil {
		return read, err
	}
	if read.nodes, err = host.NodeMetricses().List(ctx, metav1.ListOptions{}); err != nil {
		return read, err
	}
	if read.ownNodes, err = virtual.NodeMetricses().List(ctx, metav1.ListOptions{}); err != nil {
		return read, err
	}
	for _, foreign := range []string{"matryoshka-agent-", "hello-"} {
		if !slices.ContainsFunc(read.all.Items, func(m metricsv1beta1.PodMetrics) bool { return strings.HasPrefix(m.Name, foreign) }) {
			return read, fmt.Errorf("the host measures no pod %s…; the test would prove nothing", foreign)
		}
	}
	if len(read.own.Items) == 0 || len(read.nodes.Items) == 0 || len(read.ownNodes.Items) == 0 {
		return read, fmt.Errorf("%d pods of the tenant are measured, %d nodes of the host, %d of the tenant", len(read.own.Items), len(read.nodes.Items), len(read.ownNodes.Items))
	}
	if read.ownNodes.Items[0].Usage.Memory().IsZero() {
		return read, errors.New("the tenant's node uses nothing")
	}
	return read, nil
}
