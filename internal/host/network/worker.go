package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// The ends of the link between the nodes, in the first node's namespace and in the worker's.
const (
	workerLink = "worker0"
	uplink     = "uplink0"
)

// EnsureWorker makes the network namespace of the second node and pins it at path, or takes the one that is pinned there, and
// joins it to the first node's, which is pinned at nodePath. What is for neither of them goes by the first node.
func EnsureWorker(ctx context.Context, nodePath, path string) error {
	if !isPinned(path) {
		if err := create(path); err != nil {
			return err
		}
	}
	if err := Inside(path, func() error { return configure(ctx, WorkerAddress) }); err != nil {
		return err
	}
	if err := Inside(nodePath, func() error { return joinWorker(path) }); err != nil {
		return err
	}
	return Inside(path, func() error {
		return routeBy(uplink, NodeAddress, WorkerAddress, netip.MustParsePrefix("0.0.0.0/0"))
	})
}

// joinWorker makes the link from the namespace of the thread, which goes with either of the two.
func joinWorker(path string) error {
	_, err := netlink.LinkByName(workerLink)
	var missing netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &missing) {
		return fmt.Errorf("find the link %s: %w", workerLink, err)
	}
	if err != nil {
		namespace, err := netns.GetFromPath(path)
		if err != nil {
			return fmt.Errorf("open the network namespace %s: %w", path, err)
		}
		defer func() { _ = namespace.Close() }() // Only referred to; the kernel keeps nothing to lose.
		attributes := netlink.NewLinkAttrs()
		attributes.Name = workerLink
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: uplink, PeerNamespace: netlink.NsFd(namespace)}); err != nil {
			return fmt.Errorf("make the link %s between the nodes: %w; the kernel needs the module veth", workerLink, err)
		}
	}
	return routeBy(workerLink, WorkerAddress, NodeAddress, WorkerPods)
}

// routeBy sets a link up that has no address of its own, and routes to the neighbour at its other end, and by it.
func routeBy(name string, neighbour, self netip.Addr, behind netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the link %s up: %w", name, err)
	}
	for _, route := range []*netlink.Route{
		{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(neighbour, 32)), Scope: netlink.SCOPE_LINK, Src: self.AsSlice()},
		{LinkIndex: link.Attrs().Index, Dst: ipNet(behind), Gw: neighbour.AsSlice(), Src: self.AsSlice()},
	} {
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route to %s by the link %s: %w", route.Dst, name, err)
		}
	}
	return nil
}
