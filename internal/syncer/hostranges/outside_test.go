package hostranges

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func prefixes(texts ...string) []netip.Prefix { return mustParse(texts...) }

func TestOutside(t *testing.T) {
	told := New(hostNodes(), serviceCIDRs())
	public := hostNodes()
	public[0].Spec.PodCIDRs = []string{"2001:db8:1::/64"}
	public[0].Status.Addresses = append(public[0].Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "2001:db8::5"})
	publicPods := New(public, serviceCIDRs())
	hidden := public
	hidden[0].Spec = corev1.NodeSpec{}
	hiddenPods := New(hidden, serviceCIDRs())
	private4 := []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"}
	all4 := append(slices.Clone(private4), "203.0.113.5/32", "224.0.0.0/4", "240.0.0.0/4")
	cases := map[string]struct {
		ranges *Ranges
		cidr   string
		except []netip.Prefix
		want   string // "" is nothing
		barred []string
	}{
		"all of IPv4":              {told, "0.0.0.0/0", nil, "0.0.0.0/0", all4},
		"all of IPv6":              {told, "::/0", nil, "2000::/3", []string{"2001::/32", "2002::/16"}},
		"public":                   {told, "198.51.100.0/24", nil, "198.51.100.0/24", nil},
		"public with exception":    {told, "198.51.100.0/24", prefixes("198.51.100.128/25"), "198.51.100.0/24", []string{"198.51.100.128/25"}},
		"around a node":            {told, "203.0.113.0/24", nil, "203.0.113.0/24", []string{"203.0.113.5/32"}},
		"exception around a node":  {told, "203.0.113.0/24", prefixes("203.0.113.0/28"), "203.0.113.0/24", []string{"203.0.113.0/28"}},
		"a node":                   {told, "203.0.113.5/32", nil, "", nil},
		"pods":                     {told, "10.244.0.0/16", nil, "", nil},
		"services":                 {told, "10.96.0.0/16", nil, "", nil},
		"a neighbour":              {told, "10.9.0.0/16", nil, "", nil},
		"metadata":                 {told, "169.254.169.254/32", nil, "", nil},
		"metadata of IPv6":         {told, "fd00:ec2::254/128", nil, "", nil},
		"IPv4 in disguise":         {told, "2002:0a00::/24", nil, "", nil},
		"all in disguise":          {told, "::ffff:0:0/96", nil, "", nil},
		"half of the address room": {told, "0.0.0.0/1", nil, "0.0.0.0/1", private4[:4]},
		"unmasked":                 {told, "198.51.100.77/24", nil, "198.51.100.0/24", nil},
		"public IPv6 pods":         {publicPods, "2001:db8::/32", nil, "2001:db8::/32", []string{"2001:db8::5/128", "2001:db8:1::/64"}},
		"hidden IPv6 pods":         {hiddenPods, "2001:db8::/32", nil, "", nil},
		"hidden IPv6 pods, IPv4":   {hiddenPods, "198.51.100.0/24", nil, "198.51.100.0/24", nil},
		"nothing is known":         {New(nil, nil), "::/0", nil, "2000::/3", []string{"2001::/32", "2002::/16"}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			block, ok := test.ranges.Outside(netip.MustParsePrefix(test.cidr), test.except)
			if ok != (test.want != "") {
				t.Fatalf("Outside(%s) = %+v, %v", test.cidr, block, ok)
			}
			if ok && (block.CIDR != test.want || !slices.Equal(block.Except, test.barred)) {
				t.Errorf("Outside(%s) = %s except %v, want %s except %v", test.cidr, block.CIDR, block.Except, test.want, test.barred)
			}
		})
	}
}

func TestCoversPods(t *testing.T) {
	told, silent := New(hostNodes(), serviceCIDRs()), New(nil, nil)
	only4 := hostNodes()
	only4[0].Spec.PodCIDRs = nil
	noPods6 := New(only4, serviceCIDRs())
	cases := map[string]struct {
		ranges *Ranges
		cidr   string
		except []netip.Prefix
		want   bool
	}{
		"everything":                       {told, "0.0.0.0/0", nil, true},
		"everything but metadata":          {told, "0.0.0.0/0", prefixes("169.254.169.254/32"), true},
		"the internet":                     {told, "0.0.0.0/0", prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), false},
		"everything but some pods":         {told, "0.0.0.0/0", prefixes("10.244.0.128/25"), false},
		"the pods' range":                  {told, "10.244.0.0/16", nil, true},
		"some of the pods":                 {told, "10.244.0.0/25", nil, false},
		"elsewhere":                        {told, "198.51.100.0/24", nil, false},
		"IPv6":                             {told, "::/0", nil, true},
		"IPv6 without pods":                {noPods6, "::/0", nil, false},
		"not told, everything":             {silent, "0.0.0.0/0", nil, true},
		"not told, one private range":      {silent, "10.0.0.0/8", nil, false},
		"not told, without one of private": {silent, "0.0.0.0/0", prefixes("10.1.0.0/16"), false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := test.ranges.CoversPods(netip.MustParsePrefix(test.cidr), test.except); got != test.want {
				t.Errorf("CoversPods(%s except %v) = %v, want %v", test.cidr, test.except, got, test.want)
			}
		})
	}
}

// FuzzOutsideIsOutside looks for an address that a block lets through and that is the host's.
func FuzzOutsideIsOutside(f *testing.F) {
	f.Add([]byte{10, 244, 0, 9}, uint8(0))
	f.Add([]byte{203, 0, 113, 5}, uint8(31))
	f.Add(netip.MustParseAddr("2002::1").AsSlice(), uint8(3))
	ranges := New(hostNodes(), serviceCIDRs())
	f.Fuzz(func(t *testing.T, raw []byte, bits uint8) {
		address, ok := netip.AddrFromSlice(raw)
		if !ok || int(bits) > address.BitLen() {
			return
		}
		block, ok := ranges.Outside(netip.PrefixFrom(address, int(bits)), nil)
		if !ok || !netip.MustParsePrefix(block.CIDR).Contains(address) {
			return
		}
		for _, text := range block.Except {
			except := netip.MustParsePrefix(text)
			if cidr := netip.MustParsePrefix(block.CIDR); !covers(cidr, except) || except == cidr {
				t.Errorf("except %s is not part of %s", text, block.CIDR)
			}
			if except.Contains(address) {
				return
			}
		}
		if ranges.IsProtected(address) {
			t.Errorf("%+v lets %s through", block, address)
		}
	})
}
