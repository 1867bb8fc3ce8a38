package hostranges

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// unsafeRanges are nobody's to name: they mean the node itself, its link, the cloud's metadata service, or an IPv4
// address in the disguise of IPv6.
var unsafeRanges = mustParse(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fe80::/10", "fec0::/10", "ff00::/8",
	"fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32",
)

// privateRanges are where clusters and their neighbours live. They stand for the host's pod range where the nodes do not
// say what it is (network plugins with their own address management leave spec.podCIDRs empty).
var privateRanges = mustParse("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")

// Ranges are the host's addresses at one time. The zero value knows none of them and is not safe; make it with New.
type Ranges struct {
	// The ranges of the pods and of the Services and the addresses of the nodes, sorted.
	pods, services, nodes []netip.Prefix
	// nodeSet is nodes, to look one up.
	nodeSet map[netip.Addr]bool
	// podsTold says that every node tells the range of its pods, servicesTold that the Services' ranges are known.
	podsTold, servicesTold bool
}

// New reads the host's ranges from its nodes and ServiceCIDRs.
func New(nodes []corev1.Node, serviceCIDRs []networkingv1.ServiceCIDR) *Ranges {
	ranges := &Ranges{nodeSet: map[netip.Addr]bool{}, podsTold: len(nodes) > 0}
	for i := range nodes {
		podRanges := parse(append([]string{nodes[i].Spec.PodCIDR}, nodes[i].Spec.PodCIDRs...))
		ranges.podsTold = ranges.podsTold && len(podRanges) > 0
		ranges.pods = append(ranges.pods, podRanges...)
		for _, address := range nodes[i].Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil {
				ranges.nodeSet[ip.Unmap()] = true
			}
		}
	}
	for i := range serviceCIDRs {
		ranges.services = append(ranges.services, parse(serviceCIDRs[i].Spec.CIDRs)...)
	}
	for address := range ranges.nodeSet {
		ranges.nodes = append(ranges.nodes, netip.PrefixFrom(address, address.BitLen()))
	}
	ranges.servicesTold = len(ranges.services) > 0
	ranges.pods, ranges.services, ranges.nodes = pruned(ranges.pods), pruned(ranges.services), pruned(ranges.nodes)
	return ranges
}

// Equal tells whether two say the same.
func (r *Ranges) Equal(other *Ranges) bool {
	return r.podsTold == other.podsTold && r.servicesTold == other.servicesTold &&
		slices.Equal(r.pods, other.pods) && slices.Equal(r.services, other.services) && slices.Equal(r.nodes, other.nodes)
}

// IsProtected tells whether an address is the host's own, so that only a pod of the tenant's may have it.
func (r *Ranges) IsProtected(address netip.Addr) bool {
	if !address.IsValid() || address.Zone() != "" || address.Is4In6() {
		return true
	}
	if r.nodeSet[address] || IsUnsafe(address) || contains(r.pods, address) || contains(r.services, address) {
		return true
	}
	return (!r.podsTold || !r.servicesTold) && contains(privateRanges, address)
}

// IsUnsafe tells whether not even a pod of the tenant's can vouch for an address.
func IsUnsafe(address netip.Addr) bool { return contains(unsafeRanges, address) }

func contains(ranges []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

// pruned sorts prefixes and drops those that another one contains.
func pruned(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		if order := a.Addr().Compare(b.Addr()); order != 0 {
			return order
		}
		return a.Bits() - b.Bits()
	})
	var kept []netip.Prefix
	for _, prefix := range prefixes {
		// What contains a prefix comes before it, and nothing in between is outside of that.
		if len(kept) == 0 || !covers(kept[len(kept)-1], prefix) {
			kept = append(kept, prefix)
		}
	}
	return kept
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func parse(texts []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes
}

func mustParse(texts ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}
