package networkpolicy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

// translation makes the host's form of one policy.
type translation struct {
	fence fence.Fence
	// namespace is the tenant's, of the policy.
	namespace string
	// dnsLabels are the labels of the tenant's namespace kube-system, as whose pods the DNS counts.
	dnsLabels map[string]string

	// refused are the peers that were left out, and why.
	refused []string
}

// translate is the spec of the host's policy. Its only side is refused.
func (t *translation) translate(virtual networkingv1.NetworkPolicySpec) networkingv1.NetworkPolicySpec {
	host := networkingv1.NetworkPolicySpec{
		PodSelector: *virtual.PodSelector.DeepCopy(),
		PolicyTypes: slices.Clone(virtual.PolicyTypes),
	}
	if slices.Contains(virtual.PolicyTypes, networkingv1.PolicyTypeIngress) {
		host.Ingress = t.ingress(virtual.Ingress)
	}
	if slices.Contains(virtual.PolicyTypes, networkingv1.PolicyTypeEgress) {
		host.Egress = t.egress(virtual.Egress)
	}
	return host
}

func (t *translation) ingress(virtual []networkingv1.NetworkPolicyIngressRule) []networkingv1.NetworkPolicyIngressRule {
	var host []networkingv1.NetworkPolicyIngressRule
	for index, rule := range virtual {
		peers, coversPods := t.peers(fmt.Sprintf("ingress[%d].from", index), rule.From)
		if coversPods {
			peers = append(peers, fence.IngressControllers())
		}
		if len(peers) > 0 { // without peers a rule would let everything through
			host = append(host, networkingv1.NetworkPolicyIngressRule{From: peers, Ports: ports(rule.Ports)})
		}
	}
	return append(host, t.fence.FromControlPlane())
}

func (t *translation) egress(virtual []networkingv1.NetworkPolicyEgressRule) []networkingv1.NetworkPolicyEgressRule {
	var host []networkingv1.NetworkPolicyEgressRule
	var dnsProtocols []corev1.Protocol
	for index, rule := range virtual {
		peers, coversPods := t.peers(fmt.Sprintf("egress[%d].to", index), rule.To)
		if len(peers) > 0 {
			host = append(host, networkingv1.NetworkPolicyEgressRule{To: peers, Ports: ports(rule.Ports)})
		}
		if coversPods || slices.ContainsFunc(rule.To, t.selectsDNS) {
			dnsProtocols = append(dnsProtocols, dnsProtocolsOf(rule.Ports)...)
		}
	}
	if dns := t.toDNS(dnsProtocols); len(dns.Ports) > 0 {
		host = append(host, dns)
	}
	return append(host, t.fence.ToControlPlane())
}

func ports(virtual []networkingv1.NetworkPolicyPort) []networkingv1.NetworkPolicyPort {
	var host []networkingv1.NetworkPolicyPort
	for index := range virtual {
		host = append(host, *virtual[index].DeepCopy())
	}
	return host
}

// peers are the host's form of the peers of a rule. coversPods tells whether one of them means every address of the
// cluster, and so also what stands beside the tenant's pods: the DNS, and who brings traffic in.
func (t *translation) peers(field string, virtual []networkingv1.NetworkPolicyPeer) (host []networkingv1.NetworkPolicyPeer, coversPods bool) {
	if len(virtual) == 0 {
		return append([]networkingv1.NetworkPolicyPeer{t.fence.OwnPods()}, t.fence.Internet()...), true
	}
	for index, peer := range virtual {
		name := fmt.Sprintf("%s[%d]", field, index)
		if peer.IPBlock != nil {
			found, covers := t.block(name, peer.IPBlock)
			host, coversPods = append(host, found...), coversPods || covers
			continue
		}
		if selected, ok := t.selected(name, peer); ok {
			host = append(host, selected)
		}
	}
	return host, coversPods
}

// block is the host's form of an IP block: the part of it that is the internet, and the tenant's pods if the block means
// all pods of the cluster.
func (t *translation) block(name string, block *networkingv1.IPBlock) (host []networkingv1.NetworkPolicyPeer, coversPods bool) {
	cidr, except, err := parse(block)
	if err != nil {
		t.refused = append(t.refused, fmt.Sprintf("%s: %v", name, err))
		return nil, false
	}
	if t.fence.Ranges.CoversPods(cidr, except) {
		host, coversPods = append(host, t.fence.OwnPods()), true
	}
	if outside, ok := t.fence.Ranges.Outside(cidr, except); ok {
		host = append(host, networkingv1.NetworkPolicyPeer{IPBlock: outside})
	}
	if len(host) == 0 {
		t.refused = append(t.refused, fmt.Sprintf("%s: %s is inside of the host's or a private network; use selectors for pods of your own", name, cidr))
	}
	return host, coversPods
}

func parse(block *networkingv1.IPBlock) (cidr netip.Prefix, except []netip.Prefix, err error) {
	if cidr, err = netip.ParsePrefix(block.CIDR); err != nil {
		return cidr, nil, fmt.Errorf("cidr %q is not an IP block", block.CIDR)
	}
	for _, text := range block.Except {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return cidr, nil, fmt.Errorf("except %q is not an IP block", text)
		}
		except = append(except, prefix)
	}
	return cidr, except, nil
}

// selected is the host's form of a peer of selectors. Names and labels of pods do not change; namespaces are always the
// tenant's own.
func (t *translation) selected(name string, peer networkingv1.NetworkPolicyPeer) (host networkingv1.NetworkPolicyPeer, ok bool) {
	if strange := hostcopy.StrangeLabels(peer.PodSelector); len(strange) > 0 {
		t.refused = append(t.refused, fmt.Sprintf("%s: the host's pods do not have the labels %s; select by others", name, strings.Join(strange, ", ")))
		return host, false
	}
	host.PodSelector = peer.PodSelector.DeepCopy()
	if peer.NamespaceSelector != nil {
		host.NamespaceSelector = t.fence.Own(hostNamespaces(peer.NamespaceSelector))
	}
	return host, true
}

// hostNamespaces is a selector of namespaces by the labels that mapped namespaces have. Values do not change, so that every
// operator means the same.
func hostNamespaces(virtual *metav1.LabelSelector) metav1.LabelSelector {
	host := metav1.LabelSelector{}
	for key, value := range virtual.MatchLabels {
		if host.MatchLabels == nil {
			host.MatchLabels = map[string]string{}
		}
		host.MatchLabels[hostKey(key)] = value
	}
	for _, expression := range virtual.MatchExpressions {
		host.MatchExpressions = append(host.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: hostKey(expression.Key), Operator: expression.Operator, Values: slices.Clone(expression.Values),
		})
	}
	return host
}

func hostKey(virtualKey string) string {
	if virtualKey == corev1.LabelMetadataName {
		return mapping.LabelTenantNamespace
	}
	return mapping.HostNamespaceLabel(virtualKey)
}
