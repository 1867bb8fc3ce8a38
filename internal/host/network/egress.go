package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"sigs.k8s.io/knftables"
)

// egressInside is the name of the link's end in the host's namespace.
const egressInside = "egress0"

// egressRange is where the addresses of egress links are taken from, four for each: link-local ones, that no network behind
// the machine uses.
var egressRange = netip.MustParsePrefix("169.254.128.0/17")

// Egress names what egress by NAT makes in the machine's own namespace.
type Egress struct{ Link, Table string }

// OpenEgress gives the namespace that is pinned at path a way out: a link to the machine, masquerading inside, so that the
// machine sees one address only, and on the machine, behind whose addresses everything goes on.
func OpenEgress(ctx context.Context, path string, names Egress) error {
	forwarding, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return fmt.Errorf("look whether the machine forwards packets: %w", err)
	}
	if strings.TrimSpace(string(forwarding)) != "1" {
		return errors.New("--egress nat: this machine forwards no packets; allow it with `sysctl -w net.ipv4.ip_forward=1`, or use --egress none")
	}
	if err := CloseEgress(ctx, names); err != nil {
		return err
	}
	outside, inside, err := freeSubnet()
	if err != nil {
		return err
	}
	if err := linkEgress(path, names.Link, outside, inside); err != nil {
		return err
	}
	if err := masquerade(ctx, names.Table, "oifname != "+names.Link+" ip saddr "+inside.Addr().String()); err != nil {
		return err
	}
	return Inside(path, func() error {
		if err := masquerade(ctx, names.Table, "oifname "+egressInside); err != nil {
			return err
		}
		return refuseLinkLocal(ctx, names.Table)
	})
}

// CloseEgress removes what OpenEgress has made on the machine; the end inside goes with the link.
func CloseEgress(ctx context.Context, names Egress) error {
	link, err := netlink.LinkByName(names.Link)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
	case err != nil:
		return fmt.Errorf("find the egress link %s: %w", names.Link, err)
	default:
		if err := netlink.LinkDel(link); err != nil {
			return fmt.Errorf("remove the egress link %s: %w", names.Link, err)
		}
	}
	nft, err := knftables.New(knftables.IPv4Family, names.Table)
	if err != nil {
		return fmt.Errorf("use nftables for egress: %w", err)
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("remove the egress table %s: %w", names.Table, err)
	}
	return nil
}

func linkEgress(path, name string, outside, inside netip.Prefix) error {
	namespace, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open the network namespace %s: %w", path, err)
	}
	defer func() { _ = namespace.Close() }() // Only referred to; the kernel keeps nothing to lose.
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: egressInside, PeerNamespace: netlink.NsFd(namespace)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the egress link %s: %w; the kernel needs the module veth", name, err)
	}
	if err := configureLink(name, outside); err != nil {
		return err
	}
	return Inside(path, func() error {
		if err := configureLink(egressInside, inside); err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: outside.Addr().AsSlice()}); err != nil {
			return fmt.Errorf("route egress: %w", err)
		}
		return nil
	})
}

func configureLink(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the egress link %s: %w", name, err)
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return fmt.Errorf("give the egress link %s its address: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the egress link %s up: %w", name, err)
	}
	return nil
}

func masquerade(ctx context.Context, table, match string) error {
	nft, err := knftables.New(knftables.IPv4Family, table)
	if err != nil {
		return fmt.Errorf("use nftables for egress: %w", err)
	}
	const chain = "postrouting"
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{})
	tx.Add(&knftables.Chain{
		Name: chain, Type: knftables.PtrTo(knftables.NATType),
		Hook: knftables.PtrTo(knftables.PostroutingHook), Priority: knftables.PtrTo(knftables.SNATPriority),
	})
	tx.Add(&knftables.Rule{Chain: chain, Rule: match + " masquerade"})
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("masquerade egress: %w", err)
	}
	return nil
}

// refuseLinkLocal keeps pods from the services that a machine has at link-local addresses: a cloud hands out the machine's
// own credentials there. Cluster DNS, which is no pod, may have its upstream server among them.
func refuseLinkLocal(ctx context.Context, table string) error {
	nft, err := knftables.New(knftables.IPv4Family, table)
	if err != nil {
		return fmt.Errorf("use nftables for egress: %w", err)
	}
	const chain = "forward"
	tx := nft.NewTransaction()
	tx.Add(&knftables.Chain{
		Name: chain, Type: knftables.PtrTo(knftables.FilterType),
		Hook: knftables.PtrTo(knftables.ForwardHook), Priority: knftables.PtrTo(knftables.FilterPriority),
	})
	const match = "oifname " + egressInside + " ip daddr 169.254.0.0/16 "
	tx.Add(&knftables.Rule{Chain: chain, Rule: match + "meta l4proto tcp reject with tcp reset"})
	tx.Add(&knftables.Rule{Chain: chain, Rule: match + "reject with icmp type admin-prohibited"})
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("keep pods from link-local addresses: %w", err)
	}
	return nil
}

// freeSubnet finds four addresses that no link of the machine has: other hosts have egress links too.
func freeSubnet() (outside, inside netip.Prefix, err error) {
	taken, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return outside, inside, fmt.Errorf("list the machine's addresses: %w", err)
	}
	networks := make([]*net.IPNet, 0, len(taken))
	for _, address := range taken {
		networks = append(networks, address.IPNet)
	}
	return chooseSubnet(networks)
}

func chooseSubnet(taken []*net.IPNet) (outside, inside netip.Prefix, err error) {
	const size = 4
	first := binary.BigEndian.Uint32(egressRange.Addr().AsSlice())
	last := first + 1<<(32-egressRange.Bits())
	for base := first; base < last; base += size {
		candidate := netip.PrefixFrom(addressOf(base), 30)
		free := true
		for _, network := range taken {
			if network.Contains(candidate.Addr().AsSlice()) || candidate.Contains(toAddress(network.IP)) {
				free = false
				break
			}
		}
		if free {
			return netip.PrefixFrom(addressOf(base+1), 30), netip.PrefixFrom(addressOf(base+2), 30), nil
		}
	}
	return outside, inside, fmt.Errorf("--egress nat: no free addresses in %s", egressRange)
}

func addressOf(number uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, number)))
}

// toAddress gives the zero address, which is in no range, for what is none.
func toAddress(ip net.IP) netip.Addr {
	address, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}
	}
	return address.Unmap()
}
