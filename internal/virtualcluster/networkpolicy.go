package virtualcluster

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// renderNetworkPolicy closes the control namespace but for what a control plane is for. A tenant chooses the URLs that
// its API server calls (webhooks, aggregated APIs, proxies), so nothing outside of the tenant may be reachable.
func renderNetworkPolicy(vc *clusterv1alpha1.VirtualCluster, options *Options) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: controlMeta(vc, controlPlaneName),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{systemPods(options, AgentName), tenantPods(vc)},
				Ports: []networkingv1.NetworkPolicyPort{policyPort(corev1.ProtocolTCP, controlPlanePort)},
			}},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{
					To: []networkingv1.NetworkPolicyPeer{systemPods(options, AgentName)},
					Ports: []networkingv1.NetworkPolicyPort{
						policyPort(corev1.ProtocolTCP, KubeletDoorPort),
						policyPort(corev1.ProtocolTCP, AddressDoorPort),
					},
				},
				{
					To: []networkingv1.NetworkPolicyPeer{systemPods(options, options.DNSService)},
					Ports: []networkingv1.NetworkPolicyPort{
						policyPort(corev1.ProtocolUDP, dnsPort),
						policyPort(corev1.ProtocolTCP, dnsPort),
					},
				},
				{To: []networkingv1.NetworkPolicyPeer{tenantPods(vc)}},
			},
		},
	}
}

func systemPods(options *Options, app string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: options.SystemNamespace}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{LabelApp: app}},
	}
}

// tenantPods are the pods of the virtual cluster's own mapped namespaces.
func tenantPods(vc *clusterv1alpha1.VirtualCluster) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		mapping.LabelID:   vc.Status.ID,
		mapping.LabelKind: mapping.KindMapped,
	}}}
}

func policyPort(protocol corev1.Protocol, port int32) networkingv1.NetworkPolicyPort {
	number := intstr.FromInt32(port)
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &number}
}
