package networkpolicy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The tenants' DNS is not in the tenant's cluster. To policies it counts as what it is in others: pods of namespace
// kube-system with this label, on port 53.
var dnsPodLabels = labels.Set{"k8s-app": "kube-dns"}

const dnsPort = 53

// selectsDNS tells whether a peer of selectors means the DNS.
func (t *translation) selectsDNS(peer networkingv1.NetworkPolicyPeer) bool {
	if peer.IPBlock != nil || peer.PodSelector != nil && !matches(peer.PodSelector, dnsPodLabels) {
		return false
	}
	if peer.NamespaceSelector == nil {
		return t.namespace == metav1.NamespaceSystem
	}
	return matches(peer.NamespaceSelector, t.dnsLabels)
}

func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set)
}

// dnsProtocolsOf are the protocols by which the ports of a rule let DNS through.
func dnsProtocolsOf(rulePorts []networkingv1.NetworkPolicyPort) []corev1.Protocol {
	if len(rulePorts) == 0 {
		return []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP}
	}
	var protocols []corev1.Protocol
	for _, port := range rulePorts {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		if isDNSPort(port) {
			protocols = append(protocols, protocol)
		}
	}
	return protocols
}

func isDNSPort(port networkingv1.NetworkPolicyPort) bool {
	switch {
	case port.Port == nil:
		return true
	case port.Port.Type == intstr.String:
		return port.Port.StrVal == "dns" || port.Port.StrVal == "dns-tcp"
	case port.EndPort != nil:
		return port.Port.IntVal <= dnsPort && dnsPort <= *port.EndPort
	default:
		return port.Port.IntVal == dnsPort
	}
}

// toDNS lets out to the DNS by these protocols; it has no ports if there is none.
func (t *translation) toDNS(protocols []corev1.Protocol) networkingv1.NetworkPolicyEgressRule {
	rule := t.fence.ToDNS()
	rule.Ports = slices.DeleteFunc(slices.Clone(rule.Ports), func(port networkingv1.NetworkPolicyPort) bool {
		return !slices.Contains(protocols, *port.Protocol)
	})
	return rule
}
