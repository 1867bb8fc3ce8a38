package metricsapi

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

func measured(at time.Time, window time.Duration, containers ...string) metrics.PodMetrics {
	pod := metrics.PodMetrics{Timestamp: metav1.NewTime(at), Window: metav1.Duration{Duration: window}}
	for _, cpu := range containers {
		pod.Containers = append(pod.Containers, metrics.ContainerMetrics{Usage: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("1Mi"),
		}})
	}
	return pod
}

func TestNodeMetrics(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	pods := []metrics.PodMetrics{measured(late, 30*time.Second, "1", "250m"), measured(early, 10*time.Second, "1n")}
	got := nodeMetrics(node, pods)
	if got.Usage.Cpu().Cmp(resource.MustParse("1250000001n")) != 0 || got.Usage.Memory().Value() != 3<<20 {
		t.Errorf("usage is %v", got.Usage)
	}
	if !got.Timestamp.Time.Equal(early) || got.Window.Duration != 30*time.Second {
		t.Errorf("measured at %s over %s, want the earliest time and the longest window", got.Timestamp, got.Window.Duration)
	}
	// The parts stay as they were.
	if pods[0].Containers[0].Usage.Cpu().MilliValue() != 1000 {
		t.Error("adding up has changed what was measured")
	}
	if idle := nodeMetrics(node, nil); !idle.Usage.Cpu().IsZero() || idle.Timestamp.IsZero() {
		t.Errorf("a node without pods: %+v", idle)
	}
}
