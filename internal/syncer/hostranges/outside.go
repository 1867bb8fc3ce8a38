package hostranges

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
)

// Of IPv6, internet6 is all that is handed out for the internet; of IPv4 it is what no range below has.
var (
	everything4 = netip.MustParsePrefix("0.0.0.0/0")
	everything6 = netip.MustParsePrefix("::/0")
	internet6   = netip.MustParsePrefix("2000::/3")
)

// Outside is the part of an IP block that is neither the host's nor private: the internet, as far as the block names
// it. ok is false if nothing is left of it. The result is a valid block of a NetworkPolicy.
//
// Private addresses are left out even where the host tells its ranges: they are its neighbours (metadata services,
// load balancers, the operator's own network), which a tenant has no business with.
func (r *Ranges) Outside(cidr netip.Prefix, except []netip.Prefix) (block *networkingv1.IPBlock, ok bool) {
	cidr = cidr.Masked()
	if cidr.Addr().Is6() {
		if cidr, ok = within(cidr, internet6); !ok || r.hidesPods6() {
			return nil, false
		}
	}
	barred := slices.Concat(r.pods, r.services, r.nodes, unsafeRanges, privateRanges)
	for _, prefix := range except {
		barred = append(barred, prefix.Masked())
	}
	block = &networkingv1.IPBlock{CIDR: cidr.String()}
	for _, prefix := range pruned(barred) {
		switch {
		case prefix.Addr().BitLen() != cidr.Addr().BitLen():
		case covers(prefix, cidr):
			return nil, false
		case covers(cidr, prefix):
			block.Except = append(block.Except, prefix.String())
		}
	}
	return block, true
}

// Internet is all of Outside, of both families.
func (r *Ranges) Internet() []*networkingv1.IPBlock {
	var blocks []*networkingv1.IPBlock
	for _, everything := range []netip.Prefix{everything4, everything6} {
		if block, ok := r.Outside(everything, nil); ok {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// CoversPods tells whether an IP block means the pods of the cluster too: all of the pods' ranges of its family lie in
// it, and no exception touches them.
func (r *Ranges) CoversPods(cidr netip.Prefix, except []netip.Prefix) bool {
	cidr = cidr.Masked()
	pods := r.pods
	if !r.podsTold {
		pods = privateRanges
	}
	found := false
	for _, podRange := range pods {
		if podRange.Addr().BitLen() != cidr.Addr().BitLen() {
			continue
		}
		found = true
		if !covers(cidr, podRange) || slices.ContainsFunc(except, podRange.Overlaps) {
			return false
		}
	}
	return found
}

// hidesPods6 tells whether pods may have public IPv6 addresses that the host does not tell: then none can be let through.
func (r *Ranges) hidesPods6() bool {
	return !r.podsTold && slices.ContainsFunc(r.nodes, func(prefix netip.Prefix) bool { return covers(internet6, prefix) })
}

// within is the part of a prefix that lies in another one.
func within(prefix, outer netip.Prefix) (netip.Prefix, bool) {
	switch {
	case covers(outer, prefix):
		return prefix, true
	case covers(prefix, outer):
		return outer, true
	}
	return netip.Prefix{}, false
}
