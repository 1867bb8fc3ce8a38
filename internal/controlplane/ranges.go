package controlplane

import (
	"net/netip"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

// widestBits is the prefix length of the widest IPv4 range that the API server takes: k8s.io/utils/net.RangeSize calls
// anything wider empty.
const widestBits = 2

// serviceRanges splits the configured ranges into what kube-apiserver is given as its flag and what becomes ServiceCIDR
// objects beside it, so that together they allow every address. "The host decides" needs 0.0.0.0/0, which is four
// times the widest range. The first range of the flag holds the service address.
func serviceRanges(c config.ControlPlane) (flag string, extra []string) {
	address, _ := netip.ParseAddr(c.ServiceAddress) // validated
	var primary []string
	for _, text := range c.ServiceRanges {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is6() || prefix.Bits() >= widestBits {
			primary = append(primary, text)
			continue
		}
		quarters := split(prefix)
		chosen := 0
		for i, quarter := range quarters {
			if quarter.Contains(address) {
				chosen = i
			}
		}
		primary = append(primary, quarters[chosen].String())
		for i, quarter := range quarters {
			if i != chosen {
				extra = append(extra, quarter.String())
			}
		}
	}
	return strings.Join(primary, ","), extra
}

// split cuts a range wider than widestBits into pieces of that width.
func split(prefix netip.Prefix) []netip.Prefix {
	var pieces []netip.Prefix
	for first := range 1 << widestBits {
		piece := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(first << (8 - widestBits))}), widestBits)
		if prefix.Contains(piece.Addr()) {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}
