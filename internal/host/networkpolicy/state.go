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

// podFrom takes a pod over, or not: a pod in the node's network shares the node's address and is not subject to
// policies, and a pod that has ended may have lost its address to another one.
func podFrom(pod *corev1.Pod) (Pod, bool) {
	if pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return Pod{}, false
	}
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil || !address.Is4() {
		return Pod{}, false
	}
	return Pod{Namespace: pod.Namespace, Labels: pod.Labels, Address: address, Ports: namedPorts(pod)}, true
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

// selectPods returns the pods of a peer. A peer without a namespace selector means the policy's own namespace. The API server
// has validated the selectors; one that cannot be read selects nothing, which keeps the pod closed.
func (s *State) selectPods(policyNamespace string, peer networkingv1.NetworkPolicyPeer) []Pod {
	pods, err := selectorOf(peer.PodSelector)
	if err != nil {
		return nil
	}
	namespaces, err := selectorOf(peer.NamespaceSelector)
	if err != nil {
		return nil
	}
	var selected []Pod
	for _, pod := range s.Pods {
		if peer.NamespaceSelector == nil && pod.Namespace != policyNamespace {
			continue
		}
		if peer.NamespaceSelector != nil && !namespaces.Matches(labels.Set(s.Namespaces[pod.Namespace])) {
			continue
		}
		if pods.Matches(labels.Set(pod.Labels)) {
			selected = append(selected, pod)
		}
	}
	return selected
}

// selectorOf takes a missing selector as one that selects everything.
func selectorOf(selector *metav1.LabelSelector) (labels.Selector, error) {
	if selector == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(selector)
}
