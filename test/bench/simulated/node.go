// Package simulated has nodes that do not exist: the host's scheduler places pods on them, and a little later the pods are
// Running and Ready without that anything runs.
//
// They are for measuring what lies between two API servers without a machine full of containers. Nothing of a kubelet is
// imitated beyond that: no logs, no probes, no ends of containers. Every node has a taint, so that only pods that ask for
// it come to it (see Place).
package simulated

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mark is the label and the taint of the nodes, and begins their names.
const mark = "simulated-node"

// PodsPerNode is how many pods fit on one node.
const PodsPerNode = 500

// Place puts a pod on simulated nodes.
func Place(spec *corev1.PodSpec) {
	spec.NodeSelector = map[string]string{mark: "true"}
	spec.Tolerations = []corev1.Toleration{{Key: mark, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
}

func nodeName(index int) string { return fmt.Sprintf("%s-%d", mark, index) }

func newNode(index int) *corev1.Node {
	resources := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1k"),
		corev1.ResourceMemory: resource.MustParse("4Ti"),
		corev1.ResourcePods:   *resource.NewQuantity(PodsPerNode, resource.DecimalSI),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:   nodeName(index),
			Labels: map[string]string{mark: "true", corev1.LabelHostname: nodeName(index), corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"},
		},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: mark, Value: "true", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Capacity: resources, Allocatable: resources,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress(index)}},
			NodeInfo:  corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64"},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionTrue),
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse),
			},
		},
	}
}

func condition(kind corev1.NodeConditionType, status corev1.ConditionStatus) corev1.NodeCondition {
	now := metav1.Now()
	return corev1.NodeCondition{Type: kind, Status: status, Reason: "Simulated", LastHeartbeatTime: now, LastTransitionTime: now}
}

// Addresses are of 198.18.0.0/15, which is set aside for measurements: nothing answers there.
func nodeAddress(index int) string { return fmt.Sprintf("198.18.%d.%d", index/250, index%250+1) }

func podAddress(number int) string {
	return fmt.Sprintf("198.19.%d.%d", number/250%250, number%250+1)
}
