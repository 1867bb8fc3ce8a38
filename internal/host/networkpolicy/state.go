package networkpolicy

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Pod is what rules depend on.
type Pod struct {
	Namespace string
	Labels    map[string]string
	Address   netip.Addr
	// Ports are the named ports of its containers.
	Ports []NamedPort
}

// NamedPort of a pod.
type NamedPort struct {
	Name     string
	Protocol corev1.Protocol
	Port     int32
}

// State is everything that the rules follow from.
type State struct {
	// Namespaces by name, with their labels.
	Namespaces map[string]map[string]string
	Pods       []Pod
	Policies   []*networkingv1.NetworkPolicy
}

// podAt takes a pod over with an address, or not: a pod in the node's network shares the node's address and is not subject
// to policies, and a pod that has ended may have lost its address to another one.
func podAt(pod *corev1.Pod, address netip.Addr) (Pod, bool) {
	if pod.Spec.HostNetwork || hasEnded(pod) || !address.Is4() {
		return Pod{}, false
	}
	return Pod{Namespace: pod.Namespace, Labels: pod.Labels, Address: address, Ports: namedPorts(pod)}, true
}

func hasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// reportedAddress is what the API knows; the zero address, which is of no kind, for none.
func reportedAddress(pod *corev1.Pod) netip.Addr {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return netip.Addr{}
	}
	return address
}

func namedPorts(pod *corev1.Pod) []NamedPort {
	var ports []NamedPort
	add := func(container *corev1.Container) {
		for _, port := range container.Ports {
			if port.Name != "" {
				ports = append(ports, NamedPort{Name: port.Name, Protocol: protocolOf(&port.Protocol), Port: port.ContainerPort})
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		add(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return ports
}

func protocolOf(protocol *corev1.Protocol) corev1.Protocol {
	if protocol == nil || *protocol == "" {
		return corev1.ProtocolTCP
	}
	return *protocol
}

// selectorOf takes a missing selector as one that selects everything.
func selectorOf(selector *metav1.LabelSelector) (labels.Selector, error) {
	if selector == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(selector)
}
