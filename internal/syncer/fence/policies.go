package fence

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Names of the policies in each mapped namespace.
const (
	// ClosedPolicy selects every pod and lets through nothing but the tenant's control plane.
	ClosedPolicy = mapping.ReservedPrefix + "isolation"
	// OpenIngressPolicy and OpenEgressPolicy select the pods that no policy of the tenant closes in this direction.
	OpenIngressPolicy = mapping.ReservedPrefix + "open-ingress"
	OpenEgressPolicy  = mapping.ReservedPrefix + "open-egress"
)

// PolicyNames are the names of all of them.
func PolicyNames() []string { return []string{ClosedPolicy, OpenIngressPolicy, OpenEgressPolicy} }

// Policies are those of one mapped namespace, without namespace and labels. A tenant's pods talk with each other, with
// their own control plane, with the DNS and with the internet, unless the tenant itself wants less, and with nobody else.
func (f Fence) Policies() []*networkingv1.NetworkPolicy {
	return []*networkingv1.NetworkPolicy{f.closed(), f.openIngress(), f.openEgress()}
}

func (f Fence) closed() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: ClosedPolicy},
		Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{f.FromControlPlane()},
			Egress:      []networkingv1.NetworkPolicyEgressRule{f.ToControlPlane()},
		},
	}
}

func (f Fence) openIngress() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: OpenIngressPolicy},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{mapping.LabelIngress: Open}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				{From: append([]networkingv1.NetworkPolicyPeer{f.OwnPods(), IngressControllers()}, f.Internet()...)},
			},
		},
	}
}

func (f Fence) openEgress() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: OpenEgressPolicy},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{mapping.LabelEgress: Open}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{To: append([]networkingv1.NetworkPolicyPeer{f.OwnPods()}, f.Internet()...)},
				f.ToDNS(),
			},
		},
	}
}

// Values of the labels mapping.LabelIngress and mapping.LabelEgress of a host pod.
const (
	// Open: no policy of the tenant selects the pod in this direction.
	Open = "open"
	// ByPolicy: what the tenant's policies let through, and no more.
	ByPolicy = "by-policy"
)

// PodLabels are the labels of a host pod that say in which directions a policy of the tenant selects it.
func PodLabels(ingress, egress bool) map[string]string {
	value := func(isSelected bool) string {
		if isSelected {
			return ByPolicy
		}
		return Open
	}
	return map[string]string{mapping.LabelIngress: value(ingress), mapping.LabelEgress: value(egress)}
}
