package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Ensure makes the network namespace and pins it at path, or takes the one that is pinned there, with the pods that
// still run in it. It reports whether it made a new one.
func Ensure(ctx context.Context, path string) (made bool, err error) {
	if !isPinned(path) {
		if err := create(path); err != nil {
			return false, err
		}
		made = true
	}
	return made, Inside(path, func() error { return configure(ctx, NodeAddress, DNSAddress) })
}

// isPinned says whether path is a pinned namespace, and not an empty file that a switched-off machine has left.
func isPinned(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Type == unix.NSFS_MAGIC
}

func create(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the file that pins the network namespace: %w", err)
	}
	file.Close()
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w; the kernel needs CONFIG_NET_NS, the process CAP_SYS_ADMIN", err)
		}
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("pin the network namespace at %s: %w", path, err)
		}
		return nil
	})
}

// Inside runs f on a thread in the network namespace that is pinned at path. Goroutines that f starts are not in it; sockets
// that f opens stay in it.
func Inside(path string, f func() error) error {
	return onOwnThread(func() error {
		if err := enter(path); err != nil {
			return err
		}
		return f()
	})
}

// enter moves the calling thread, which must be locked and must not be used for anything else afterwards.
func enter(path string) error {
	handle, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open the network namespace %s: %w", path, err)
	}
	defer func() { _ = handle.Close() }() // Only referred to; the kernel keeps nothing to lose.
	if err := netns.Set(handle); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", path, err)
	}
	return nil
}

// onOwnThread runs f on a thread that ends with it: a thread that has been elsewhere must never run other goroutines.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}

// StartInside starts a process in the network namespace that is pinned at path and returns a channel that gets its end.
// The thread that starts it stays for as long as the process does: the kernel sends the parent-death signal when that
// thread ends, not when the parent does.
func StartInside(path string, command *exec.Cmd) (<-chan error, error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := enter(path); err != nil {
			started <- err
			return
		}
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		ended <- command.Wait()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return ended, nil
}

// Listen opens a TCP listener in the namespace that is pinned at path.
func Listen(ctx context.Context, path, address string) (net.Listener, error) {
	var listener net.Listener
	err := Inside(path, func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
		return err
	})
	return listener, err
}

// configure brings the namespace that the thread is in to its wanted state, from whatever state it is in. The addresses are the
// node's own.
func configure(ctx context.Context, addresses ...netip.Addr) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback link: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("set the loopback link up: %w", err)
	}
	node, err := ensureNodeLink(addresses)
	if err != nil {
		return err
	}
	// Service addresses need a route, or the kernel refuses the node's own connections to them before kube-proxy's rules
	// see them.
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: node.Attrs().Index, Dst: ipNet(ServiceRange), Scope: netlink.SCOPE_LINK}); err != nil {
		return fmt.Errorf("route the service range: %w", err)
	}
	if err := setSysctls(); err != nil {
		return err
	}
	return guard(ctx)
}

// sysctls of the host's network namespace. A packet must come from the link that leads to its source: a pod must not get
// around the network policies with another pod's address. IPv6 is off, or each link had an address that no policy is about.
var sysctls = map[string]string{
	"net/ipv4/ip_forward":                "1",
	"net/ipv4/conf/all/rp_filter":        "1",
	"net/ipv4/conf/default/rp_filter":    "1",
	"net/ipv4/conf/all/route_localnet":   "0",
	"net/ipv6/conf/all/disable_ipv6":     "1",
	"net/ipv6/conf/default/disable_ipv6": "1",
}

func setSysctls() error {
	for name, value := range sysctls {
		err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "net/ipv6/") {
			continue // The kernel has no IPv6.
		}
		if err != nil {
			return fmt.Errorf("set the sysctl %s in the host's network namespace: %w", name, err)
		}
	}
	return nil
}

func ensureNodeLink(addresses []netip.Addr) (netlink.Link, error) {
	link, err := netlink.LinkByName(nodeLink)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = nodeLink
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
			return nil, fmt.Errorf("make the bridge %s: %w; the kernel needs the module bridge", nodeLink, err)
		}
		link, err = netlink.LinkByName(nodeLink)
	}
	if err != nil {
		return nil, fmt.Errorf("find the link %s: %w", nodeLink, err)
	}
	for _, address := range addresses {
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(address, 32))}); err != nil {
			return nil, fmt.Errorf("give the node the address %s: %w", address, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set the link %s up: %w", nodeLink, err)
	}
	return link, nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
