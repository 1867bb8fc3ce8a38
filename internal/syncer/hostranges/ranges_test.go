package hostranges

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func hostNodes() []corev1.Node {
	return []corev1.Node{{
		Spec: corev1.NodeSpec{PodCIDR: "10.244.0.0/24", PodCIDRs: []string{"10.244.0.0/24", "fd00:1::/64"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "203.0.113.5"}, {Type: corev1.NodeHostName, Address: "node-1"},
		}},
	}}
}

func serviceCIDRs() []networkingv1.ServiceCIDR {
	return []networkingv1.ServiceCIDR{{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}}}
}

func TestIsProtected(t *testing.T) {
	told := New(hostNodes(), serviceCIDRs())
	silent := hostNodes()
	silent[0].Spec = corev1.NodeSpec{}
	untold := New(silent, serviceCIDRs())
	cases := map[string]struct {
		ranges *Ranges
		want   bool
	}{
		"10.244.0.9":             {told, true},
		"fd00:1::9":              {told, true},
		"10.96.3.4":              {told, true},
		"203.0.113.5":            {told, true},
		"203.0.113.6":            {told, false},
		"198.51.100.7":           {told, false},
		"10.1.2.3":               {told, false},
		"127.0.0.1":              {told, true},
		"169.254.169.254":        {told, true},
		"::1":                    {told, true},
		"::ffff:10.1.2.3":        {told, true},
		"64:ff9b::a9fe:a9fe":     {told, true},
		"2002:a9fe:a9fe::1":      {told, true},
		"fe80::1":                {told, true},
		"0.0.0.0":                {told, true},
		"192.168.7.7":            {untold, true},
		"172.16.9.9":             {untold, true},
		"100.64.0.1":             {untold, true},
		"fd12::1":                {untold, true},
		"8.8.8.8":                {untold, false},
		"2001:4860:4860::8888":   {untold, false},
		"203.0.113.5%interface0": {told, true},
	}
	for text, test := range cases {
		address, err := netip.ParseAddr(text)
		if err != nil {
			address = netip.Addr{} // a zone on IPv4 does not parse: refused
		}
		if got := test.ranges.IsProtected(address); got != test.want {
			t.Errorf("IsProtected(%s) = %v, want %v", text, got, test.want)
		}
	}
}

func TestRangesWithoutKnowledgeProtectsAllPrivateAddresses(t *testing.T) {
	ranges := New(nil, nil)
	for _, text := range []string{"10.0.0.1", "192.168.1.1", "fd00::1"} {
		if !ranges.IsProtected(netip.MustParseAddr(text)) {
			t.Errorf("%s is not protected", text)
		}
	}
	hosts := New(hostNodes(), nil)
	if !hosts.IsProtected(netip.MustParseAddr("10.96.0.1")) {
		t.Error("a ClusterIP of a host that does not tell its Service ranges is not protected")
	}
}
