package endpointslice

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// unsafeRanges can never be the endpoint of a tenant's Service: they mean the node itself, its link, the cloud's
// metadata service, or an IPv4 address in the disguise of IPv6.
var unsafeRanges = mustParse(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
	"::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fe80::/10", "fec0::/10", "ff00::/8",
	"fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32",
)

// privateRanges stand for the host's pod range where the nodes do not say what it is (network plugins with their own
// address management leave spec.podCIDRs empty).
var privateRanges = mustParse("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")

// Guard knows the addresses of the host that a tenant must not make an endpoint of: the pods, Services and nodes of
// others. The zero value knows no range of the host and is not safe; make it with NewGuard.
type Guard struct {
	ranges []netip.Prefix
	nodes  map[netip.Addr]bool
}

// NewGuard reads the host's ranges from its nodes and ServiceCIDRs. Where those do not tell everything, all private
// addresses count as the host's.
func NewGuard(nodes []corev1.Node, serviceCIDRs []networkingv1.ServiceCIDR) Guard {
	guard := Guard{ranges: append([]netip.Prefix(nil), unsafeRanges...), nodes: map[netip.Addr]bool{}}
	allNodesTell := len(nodes) > 0
	for i := range nodes {
		podRanges := parse(append([]string{nodes[i].Spec.PodCIDR}, nodes[i].Spec.PodCIDRs...))
		allNodesTell = allNodesTell && len(podRanges) > 0
		guard.ranges = append(guard.ranges, podRanges...)
		for _, address := range nodes[i].Status.Addresses {
			if ip, err := netip.ParseAddr(address.Address); err == nil {
				guard.nodes[ip.Unmap()] = true
			}
		}
	}
	serviceRanges := 0
	for i := range serviceCIDRs {
		ranges := parse(serviceCIDRs[i].Spec.CIDRs)
		serviceRanges += len(ranges)
		guard.ranges = append(guard.ranges, ranges...)
	}
	if !allNodesTell || serviceRanges == 0 {
		guard.ranges = append(guard.ranges, privateRanges...)
	}
	return guard
}

// IsProtected tells whether an address is the host's own, so that only a pod of the tenant's may have it.
func (g Guard) IsProtected(address netip.Addr) bool {
	if !address.IsValid() || address.Zone() != "" || address.Is4In6() {
		return true
	}
	if g.nodes[address] {
		return true
	}
	for _, prefix := range g.ranges {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// isUnsafe tells whether not even a pod of the tenant's can vouch for an address.
func isUnsafe(address netip.Addr) bool {
	for _, prefix := range unsafeRanges {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// vouchesFor tells whether a host pod of the tenant makes an address the tenant's. A pod on the host's network has the
// node's address; a finished pod's address may already be somebody else's.
func vouchesFor(hostPod *corev1.Pod) bool {
	if hostPod.Spec.HostNetwork {
		return false
	}
	return hostPod.Status.Phase != corev1.PodSucceeded && hostPod.Status.Phase != corev1.PodFailed
}

// podAddresses are the addresses of a host pod in the form that a slice has them, for the cache index.
func podAddresses(hostPod *corev1.Pod) []string {
	if !vouchesFor(hostPod) {
		return nil
	}
	var addresses []string
	for _, podIP := range hostPod.Status.PodIPs {
		if address, err := netip.ParseAddr(podIP.IP); err == nil {
			addresses = append(addresses, address.String())
		}
	}
	return addresses
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
