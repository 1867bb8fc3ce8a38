package controlplane

import (
	"net/netip"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// widestBits is the prefix length of the widest IPv4 range that kube-apiserver's flag takes: k8s.io/utils/net.RangeSize
// calls anything wider empty.
const widestBits = 2

// rangeFlag is the value of --service-cluster-ip-range. The flag cannot hold 0.0.0.0/0, which "the host decides" needs;
// the allocators, though, work by the ServiceCIDR "kubernetes", which package bootstrap writes with the real range.
// The flag then only has to hold the service address. Several ServiceCIDRs would allow as much, but upstream's dry run
// picks one of them at random.
func rangeFlag(c config.ControlPlane) string {
	address, _ := netip.ParseAddr(c.ServiceAddress) // validated
	ranges := make([]string, 0, len(c.ServiceRanges))
	for _, text := range c.ServiceRanges {
		prefix, err := netip.ParsePrefix(text)
		if err == nil && prefix.Addr().Is4() && prefix.Bits() < widestBits {
			narrow := address
			if !prefix.Contains(address) {
				narrow = prefix.Addr()
			}
			prefix, err = narrow.Prefix(widestBits)
		}
		if err == nil {
			text = prefix.String()
		}
		ranges = append(ranges, text)
	}
	return strings.Join(ranges, ",")
}
