package node

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// kubeletPort is the port under which the tenant's API server asks for a node's kubelet; the kubelet door answers it.
const kubeletPort = 10250

// mirrorOf is what a tenant sees of a host node, without the heartbeats of its conditions. It is pure.
func mirrorOf(hostNode *corev1.Node) *corev1.Node {
	labels := map[string]string{mapping.LabelMirror: "true"}
	for key, value := range hostNode.Labels {
		if mapping.IsCopiedLabel(key) {
			labels[key] = value
		}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: hostNode.Name, Labels: labels},
		Spec:       corev1.NodeSpec{Unschedulable: hostNode.Spec.Unschedulable, Taints: taintsOf(hostNode)},
		Status: withoutHeartbeats(corev1.NodeStatus{
			Capacity: hostNode.Status.Capacity, Allocatable: hostNode.Status.Allocatable,
			Conditions:      hostNode.Status.Conditions,
			Addresses:       internalAddresses(hostNode),
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
			NodeInfo:        infoOf(hostNode.Status.NodeInfo),
			RuntimeHandlers: hostNode.Status.RuntimeHandlers,
			Features:        hostNode.Status.Features,
		}),
	}
}

// taintsOf are the taints without the times at which they were added, which differ in every update of a condition.
func taintsOf(hostNode *corev1.Node) []corev1.Taint {
	var taints []corev1.Taint
	for _, taint := range hostNode.Spec.Taints {
		taint.TimeAdded = nil
		taints = append(taints, taint)
	}
	return taints
}

func internalAddresses(hostNode *corev1.Node) []corev1.NodeAddress {
	return slices.DeleteFunc(slices.Clone(hostNode.Status.Addresses), func(address corev1.NodeAddress) bool {
		return address.Type != corev1.NodeInternalIP
	})
}

// infoOf keeps the versions; what identifies the machine stays on the host.
func infoOf(host corev1.NodeSystemInfo) corev1.NodeSystemInfo {
	return corev1.NodeSystemInfo{
		KernelVersion: host.KernelVersion, OSImage: host.OSImage, ContainerRuntimeVersion: host.ContainerRuntimeVersion,
		KubeletVersion: host.KubeletVersion, OperatingSystem: host.OperatingSystem, Architecture: host.Architecture,
	}
}

// withoutHeartbeats is a status whose conditions do not say when they were last confirmed: that must not look like a change.
func withoutHeartbeats(status corev1.NodeStatus) corev1.NodeStatus {
	status.Conditions = slices.Clone(status.Conditions)
	for index := range status.Conditions {
		status.Conditions[index].LastHeartbeatTime = metav1.Time{}
	}
	return status
}

// withHeartbeats are the conditions to write: they were confirmed when they changed, for the last time.
func withHeartbeats(hostNode *corev1.Node) []corev1.NodeCondition {
	conditions := slices.Clone(hostNode.Status.Conditions)
	for index := range conditions {
		conditions[index].LastHeartbeatTime = conditions[index].LastTransitionTime
	}
	return conditions
}
