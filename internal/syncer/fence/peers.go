package fence

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

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

// The label of the pods of the tenants' DNS; the chart sets it.
const (
	LabelDNS      = "app.kubernetes.io/name"
	LabelDNSValue = "matryoshka-dns"
)

// Fence is what decides how a tenant is fenced.
type Fence struct {
	// Tenant is the UID of the VirtualCluster.
	Tenant types.UID
	// SystemNamespace is where the DNS runs.
	SystemNamespace string
	// Ranges are the host's addresses.
	Ranges *hostranges.Ranges
}

// Own is the selector of the tenant's mapped namespaces, narrowed by what is asked of them.
func (f Fence) Own(narrowed metav1.LabelSelector) *metav1.LabelSelector {
	labels := maps.Clone(narrowed.MatchLabels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[mapping.LabelUID], labels[mapping.LabelKind] = string(f.Tenant), mapping.KindMapped
	return &metav1.LabelSelector{MatchLabels: labels, MatchExpressions: narrowed.MatchExpressions}
}

// OwnPods are all pods of the tenant.
func (f Fence) OwnPods() networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: f.Own(metav1.LabelSelector{})}
}

// controlPlane is the tenant's control plane: it calls its webhooks, aggregated APIs and proxied pods, which tenants have no
// other way to allow, and they call it.
func (f Fence) controlPlane() networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
		mapping.LabelUID: string(f.Tenant), mapping.LabelKind: mapping.KindControl,
	}}}
}

// FromControlPlane lets the tenant's control plane in.
func (f Fence) FromControlPlane() networkingv1.NetworkPolicyIngressRule {
	return networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{f.controlPlane()}}
}

// ToControlPlane lets out to the tenant's API server.
func (f Fence) ToControlPlane() networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{f.controlPlane()}, Ports: apiPorts}
}

// ToDNS lets out to the tenants' DNS.
func (f Fence) ToDNS() networkingv1.NetworkPolicyEgressRule {
	dns := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: f.SystemNamespace}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{LabelDNS: LabelDNSValue}},
	}
	return networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{dns}, Ports: dnsPodPorts}
}

// IngressControllers are the pods that bring in what comes from outside by an Ingress: whoever runs the host has marked
// their namespaces.
func IngressControllers() networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{mapping.LabelIngressController: "true"}}}
}

// Internet is everything that is neither the host's nor private.
func (f Fence) Internet() []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	for _, block := range f.Ranges.Internet() {
		peers = append(peers, networkingv1.NetworkPolicyPeer{IPBlock: block})
	}
	return peers
}
