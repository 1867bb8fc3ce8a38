package networkpolicy

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

const (
	tenantID      = "x7k2p5q4"
	tenantUID     = types.UID("tenant")
	systemHost    = "matryoshka-system"
	httpPort      = 80
	dnsTargetPort = 1053
)

// end is one end of a connection, as a cluster sees it.
type end struct {
	namespace       string
	namespaceLabels labels.Set
	labels          labels.Set
	address         netip.Addr
	// isPod is false for what has no labels: nodes, and everything outside.
	isPod bool
}

// allows is what the API promises about policies: without one that selects the pod everything is let through, with some
// only what one of them lets through.
func allows(policies []*networkingv1.NetworkPolicy, direction networkingv1.PolicyType, pod, peer end, protocol corev1.Protocol, port int32) bool {
	isSelected := false
	for _, policy := range policies {
		if policy.Namespace != pod.namespace || !slices.Contains(policy.Spec.PolicyTypes, direction) || !matches(&policy.Spec.PodSelector, pod.labels) {
			continue
		}
		isSelected = true
		for _, rule := range rulesOf(policy, direction) {
			if rulePermits(rule, policy.Namespace, peer, protocol, port) {
				return true
			}
		}
	}
	return !isSelected
}

type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func rulesOf(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []rule {
	var rules []rule
	if direction == networkingv1.PolicyTypeIngress {
		for _, ingress := range policy.Spec.Ingress {
			rules = append(rules, rule{ingress.From, ingress.Ports})
		}
		return rules
	}
	for _, egress := range policy.Spec.Egress {
		rules = append(rules, rule{egress.To, egress.Ports})
	}
	return rules
}

func rulePermits(rule rule, namespace string, peer end, protocol corev1.Protocol, port int32) bool {
	isPeer := len(rule.peers) == 0 || slices.ContainsFunc(rule.peers, func(p networkingv1.NetworkPolicyPeer) bool { return isPeer(p, namespace, peer) })
	isPort := len(rule.ports) == 0 || slices.ContainsFunc(rule.ports, func(p networkingv1.NetworkPolicyPort) bool { return isPort(p, protocol, port) })
	return isPeer && isPort
}

func isPeer(peer networkingv1.NetworkPolicyPeer, namespace string, other end) bool {
	if peer.IPBlock != nil {
		cidr, except, err := parse(peer.IPBlock)
		return err == nil && cidr.Contains(other.address) &&
			!slices.ContainsFunc(except, func(prefix netip.Prefix) bool { return prefix.Contains(other.address) })
	}
	if !other.isPod || peer.PodSelector != nil && !matches(peer.PodSelector, other.labels) {
		return false
	}
	if peer.NamespaceSelector == nil {
		return other.namespace == namespace
	}
	return matches(peer.NamespaceSelector, other.namespaceLabels)
}

func isPort(want networkingv1.NetworkPolicyPort, protocol corev1.Protocol, port int32) bool {
	if want.Protocol != nil && *want.Protocol != protocol || want.Protocol == nil && protocol != corev1.ProtocolTCP {
		return false
	}
	switch {
	case want.Port == nil:
		return true
	case want.Port.Type == intstr.String:
		return want.Port.StrVal == "http" && port == httpPort
	case want.EndPort != nil:
		return want.Port.IntVal <= port && port <= *want.EndPort
	default:
		return want.Port.IntVal == port
	}
}

// virtualNamespaces are the tenant's namespaces of the model, with their labels.
var virtualNamespaces = map[string]labels.Set{
	"web":         {corev1.LabelMetadataName: "web", "team": "blue"},
	"db":          {corev1.LabelMetadataName: "db", "team": "red", "tier": "data"},
	"kube-system": {corev1.LabelMetadataName: "kube-system"},
}

func onHost(virtual end) end {
	host := virtual
	host.namespace = mapping.HostNamespace(tenantID, virtual.namespace)
	host.namespaceLabels = labels.Set{
		corev1.LabelMetadataName: host.namespace, mapping.LabelUID: string(tenantUID), mapping.LabelID: tenantID,
		mapping.LabelKind: mapping.KindMapped, mapping.LabelTenantNamespace: virtual.namespace,
	}
	for key, value := range virtual.namespaceLabels {
		host.namespaceLabels[mapping.HostNamespaceLabel(key)] = value
	}
	return host
}

// The host's form of a tenant's world: the fences, the copies, and the labels of one pod.
func hostPolicies(f fence.Fence, virtual []*networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	var host []*networkingv1.NetworkPolicy
	for namespace := range virtualNamespaces {
		for _, policy := range f.Policies() {
			policy.Namespace = mapping.HostNamespace(tenantID, namespace)
			host = append(host, policy)
		}
	}
	for _, policy := range virtual {
		translation := translation{fence: f, namespace: policy.Namespace, dnsLabels: virtualNamespaces["kube-system"]}
		copied := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: mapping.HostNamespace(tenantID, policy.Namespace), Name: policy.Name}}
		copied.Spec = translation.translate(policy.Spec)
		host = append(host, copied)
	}
	return host
}

func labelled(host end, virtual end, policies []*networkingv1.NetworkPolicy) end {
	var inNamespace []networkingv1.NetworkPolicy
	for _, policy := range policies {
		if policy.Namespace == virtual.namespace {
			inNamespace = append(inNamespace, *policy)
		}
	}
	all := labels.Set{}
	for _, set := range []map[string]string{virtual.labels, podLabels(inNamespace, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: virtual.labels}})} {
		for key, value := range set {
			all[key] = value
		}
	}
	host.labels = all
	return host
}

func modelFence() fence.Fence {
	nodes := []corev1.Node{{
		Spec:   corev1.NodeSpec{PodCIDRs: []string{"10.244.0.0/16"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: "203.0.113.5"}}},
	}}
	services := []networkingv1.ServiceCIDR{{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}}}
	return fence.Fence{Tenant: tenantUID, SystemNamespace: systemHost, Ranges: hostranges.New(nodes, services)}
}
