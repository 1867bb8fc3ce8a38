package metricsapi

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// nodeMetrics adds up the pods of a node. Of times it takes the earliest, and of windows the longest: the sum is no fresher
// than any of its parts.
func nodeMetrics(node *corev1.Node, pods []metrics.PodMetrics) metrics.NodeMetrics {
	result := metrics.NodeMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels},
		Timestamp:  metav1.Now(),
		Usage: corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewQuantity(0, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(0, resource.BinarySI),
		},
	}
	for i := range pods {
		if pods[i].Timestamp.Before(&result.Timestamp) {
			result.Timestamp = pods[i].Timestamp
		}
		result.Window.Duration = max(result.Window.Duration, pods[i].Window.Duration)
		add(result.Usage, podUsage(&pods[i]))
	}
	result.CreationTimestamp = result.Timestamp
	return result
}

// podUsage adds up the containers of a pod.
func podUsage(pod *metrics.PodMetrics) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, container := range pod.Containers {
		add(sum, container.Usage)
	}
	return sum
}

func add(sum, used corev1.ResourceList) {
	for name, quantity := range used {
		total := sum[name]
		total.Add(quantity)
		sum[name] = total
	}
}
