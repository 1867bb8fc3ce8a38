package namespaces

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// IsolationPolicy is the name of the network policy that fences a mapped namespace.
const IsolationPolicy = mapping.ReservedPrefix + "isolation"

// Ports of what a tenant's pods may reach outside of their own namespaces. Policies are judged after the address of a
// Service was replaced by a pod's, so these are the pods' ports.
var (
	apiPort     = intstr.FromInt32(6443)
	dnsPort     = intstr.FromInt32(53)
	dnsPodPort  = intstr.FromInt32(1053)
	tcp         = corev1.ProtocolTCP
	udp         = corev1.ProtocolUDP
	apiPorts    = []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &apiPort}}
	dnsPodPorts = []networkingv1.NetworkPolicyPort{
		{Protocol: &udp, Port: &dnsPodPort},
		{Protocol: &tcp, Port: &dnsPodPort},
		{Protocol: &udp, Port: &dnsPort},
		{Protocol: &tcp, Port: &dnsPort},
	}
)

// notInternet4 are the ranges where clusters, nodes, metadata services and their neighbours live. Of IPv6, internet6 is
// all that is handed out for the internet.
const internet6 = "2000::/3"

var notInternet4 = []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"}

// isolation lets a tenant's pods talk with each other, with their own control plane (both ways: its webhooks and
// aggregated APIs are pods), with the DNS and with the internet, and with nobody else.
func (e *Ensurer) isolation(tenant tenants.Tenant) *networkingv1.NetworkPolicy {
	ownPods := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		mapping.LabelUID: string(tenant.UID), mapping.LabelKind: mapping.KindMapped,
	}}}
	ownControlPlane := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		mapping.LabelUID: string(tenant.UID), mapping.LabelKind: mapping.KindControl,
	}}}
	dns := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: e.options.SystemNamespace}},
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: IsolationPolicy},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{ownPods, ownControlPlane}}},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{To: []networkingv1.NetworkPolicyPeer{ownPods}},
				{To: []networkingv1.NetworkPolicyPeer{ownControlPlane}, Ports: apiPorts},
				{To: []networkingv1.NetworkPolicyPeer{dns}, Ports: dnsPodPorts},
				{To: []networkingv1.NetworkPolicyPeer{
					{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: notInternet4}},
					{IPBlock: &networkingv1.IPBlock{CIDR: internet6}},
				}},
			},
		},
	}
}
