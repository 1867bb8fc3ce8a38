package networkpolicy

import (
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// peerMatch matches packets by the peer's address.
type peerMatch struct {
	match string
	// pods that the peer can stand for, by which names of ports are resolved.
	pods []Pod
}

// peerMatches returns one match for all selected pods, one for all plain ranges and one for each range with exceptions.
func (c *compiler) peerMatches(d direction, namespace string, peers []networkingv1.NetworkPolicyPeer) []peerMatch {
	if len(peers) == 0 {
		return []peerMatch{{pods: c.state.Pods}}
	}
	var matches []peerMatch
	var pods []Pod
	var plain []netip.Prefix
	for _, peer := range peers {
		if peer.IPBlock == nil {
			pods = append(pods, c.selectPods(namespace, peer)...)
			continue
		}
		prefix, ok := parseBlock(peer.IPBlock.CIDR)
		switch {
		case !ok: // There is nothing to match in ranges of IPv6.
		case len(peer.IPBlock.Except) == 0:
			plain = append(plain, prefix)
		default:
			match := c.blocksMatch(d.peer, "", []netip.Prefix{prefix}) + c.blocksMatch(" "+d.peer, "!= ", parseBlocks(peer.IPBlock.Except))
			matches = append(matches, peerMatch{match: strings.TrimSpace(match), pods: c.state.Pods})
		}
	}
	if len(plain) > 0 {
		matches = append(matches, peerMatch{match: c.blocksMatch(d.peer, "", plain), pods: c.state.Pods})
	}
	if len(pods) == 0 {
		return matches
	}
	elements := make([][]string, 0, len(pods))
	for _, pod := range pods {
		elements = append(elements, []string{pod.Address.String()})
	}
	return append(matches, peerMatch{match: d.peer + " @" + c.set(addressSet, elements), pods: pods})
}

// selectPods returns the pods of a peer. A peer without a namespace selector means the policy's own namespace. The API server
// has validated the selectors; one that cannot be read selects nothing, which keeps the pod closed.
func (c *compiler) selectPods(policyNamespace string, peer networkingv1.NetworkPolicyPeer) []Pod {
	pods, err := selectorOf(peer.PodSelector)
	if err != nil {
		return nil
	}
	if peer.NamespaceSelector == nil {
		return matching(nil, c.pods[policyNamespace], pods)
	}
	selector, err := selectorOf(peer.NamespaceSelector)
	if err != nil {
		return nil
	}
	var selected []Pod
	for _, namespace := range c.selectNamespaces(selector) {
		selected = matching(selected, c.pods[namespace], pods)
	}
	return selected
}

// selectNamespaces returns those that have pods. The same few selectors stand in the policies of all namespaces of a virtual
// cluster: each is tried once.
func (c *compiler) selectNamespaces(selector labels.Selector) []string {
	text := selector.String()
	if names, known := c.namespaces[text]; known {
		return names
	}
	var names []string
	for name := range c.pods {
		if selector.Matches(labels.Set(c.state.Namespaces[name])) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	c.namespaces[text] = names
	return names
}

// matching appends to selected the pods that the selector matches.
func matching(selected, pods []Pod, selector labels.Selector) []Pod {
	for _, pod := range pods {
		if selector.Matches(labels.Set(pod.Labels)) {
			selected = append(selected, pod)
		}
	}
	return selected
}

func parseBlock(cidr string) (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(cidr)
	return prefix.Masked(), err == nil && prefix.Addr().Is4()
}

func parseBlocks(cidrs []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, cidr := range cidrs {
		if prefix, ok := parseBlock(cidr); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// blocksMatch matches a field by ranges, with an operator. Many are a set: the kernel takes a limited number of comparisons in
// a rule. Every address and none at all need no match.
func (c *compiler) blocksMatch(field, operator string, prefixes []netip.Prefix) string {
	prefixes = withoutNested(prefixes)
	switch {
	case len(prefixes) == 0, operator == "" && prefixes[0].Bits() == 0:
		return ""
	case len(prefixes) == 1:
		return field + " " + operator + prefixes[0].String()
	}
	elements := make([][]string, 0, len(prefixes))
	for _, prefix := range prefixes {
		elements = append(elements, []string{prefix.String()})
	}
	return field + " " + operator + "@" + c.set(blockSet, elements)
}

// withoutNested sorts ranges and leaves those out that another one contains: two ranges are apart or one is in the other.
func withoutNested(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		if order := a.Addr().Compare(b.Addr()); order != 0 {
			return order
		}
		return a.Bits() - b.Bits()
	})
	var kept []netip.Prefix
	for _, prefix := range prefixes {
		if len(kept) == 0 || !kept[len(kept)-1].Contains(prefix.Addr()) {
			kept = append(kept, prefix)
		}
	}
	return kept
}
