package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	podLink  = "eth0"
	hostLink = "veth-pod"
)

var (
	podGateway = netip.MustParsePrefix("10.244.0.1/32")
	podAddress = netip.MustParsePrefix("10.244.0.2/32")
	podSpoofed = netip.MustParsePrefix("10.244.0.3/32")
)

// patience is how long a packet may take. A first packet that comes before the link is up is lost, and TCP sends it again after a
// second.
const patience = 3 * time.Second

// A pod that may change its own network must reach neither what listens on the node's loopback address, nor anything with
// another pod's address.
func TestPodsReachNeitherLoopbackNorAnythingInAnothersName(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	host, pod := newNamespace(t), newNamespace(t)
	if _, err := Ensure(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if err := connectPod(host, pod); err != nil {
		t.Fatal(err)
	}
	// Where nothing is guarded, all of these come through.
	node, loopback := listenAndAnswer(t, host, NodeAddress.String()), listenAndAnswer(t, host, "127.0.0.1")
	if err := dialFrom(t, pod, podAddress, node); err != nil {
		t.Fatalf("the pod does not reach the node: %v", err)
	}
	if err := dialFrom(t, pod, podAddress, loopback); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the pod's connection to %s: %v, want that nobody answers", loopback, err)
	}
	if heard := datagramArrives(t, host, pod, podAddress); !heard {
		t.Error("a datagram in the pod's own name does not arrive")
	}
	if heard := datagramArrives(t, host, pod, podSpoofed); heard {
		t.Error("a datagram with the address of another pod arrives")
	}
}

// With egress pods reach what the machine reaches, but for the link-local services that are about the machine itself.
func TestEgressLeavesLinkLocalAddressesOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	machine, host, pod := newNamespace(t), newNamespace(t), newNamespace(t)
	for _, path := range []string{machine, host} {
		if _, err := Ensure(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	if err := connectPod(host, pod); err != nil {
		t.Fatal(err)
	}
	names := Egress{Link: "mk-test", Table: "matryoshka-test"}
	outside, metadata := netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("169.254.169.254/32")
	err := Inside(machine, func() error {
		return errors.Join(configureLink("lo", outside), configureLink("lo", metadata), OpenEgress(t.Context(), host, names))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dialFrom(t, pod, podAddress, listenAndAnswer(t, machine, outside.Addr().String())); err != nil {
		t.Errorf("a pod does not reach what the machine has: %v", err)
	}
	if err := dialFrom(t, pod, podAddress, listenAndAnswer(t, machine, metadata.Addr().String())); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a pod's connection to %s: %v, want that it is refused", metadata, err)
	}
}

// newNamespace is empty, and is removed at the end of the test.
func newNamespace(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "netns")
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return path
}

// connectPod is what the CNI plugins do for a pod with a host port, and then what an attacker in the pod does.
func connectPod(host, pod string) error {
	namespace, err := netns.GetFromPath(pod)
	if err != nil {
		return err
	}
	defer namespace.Close()
	err = Inside(host, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = hostLink
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: podLink, PeerNamespace: netlink.NsFd(namespace)}); err != nil {
			return err
		}
		if err := configureLink(hostLink, podGateway); err != nil {
			return err
		}
		return errors.Join(routeTo(hostLink, podAddress, nil), allowLoopbackRoutes(hostLink))
	})
	if err != nil {
		return err
	}
	return Inside(pod, func() error {
		return errors.Join(
			configureLink(podLink, podAddress), configureLink(podLink, podSpoofed), allowLoopbackRoutes(podLink),
			routeTo(podLink, podGateway, nil), routeTo(podLink, netip.MustParsePrefix("0.0.0.0/0"), podGateway.Addr().AsSlice()),
			routeTo(podLink, netip.MustParsePrefix("127.0.0.0/8"), podGateway.Addr().AsSlice()),
		)
	})
}

func routeTo(name string, target netip.Prefix, gateway net.IP) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(target), Gw: gateway}
	if gateway == nil {
		route.Scope = netlink.SCOPE_LINK
	}
	return netlink.RouteReplace(route)
}

func allowLoopbackRoutes(name string) error {
	return os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/route_localnet", []byte("1"), 0)
}

func listenAndAnswer(t *testing.T, path, address string) (at string) {
	t.Helper()
	listener, err := Listen(t.Context(), path, net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func dialFrom(t *testing.T, path string, from netip.Prefix, to string) error {
	t.Helper()
	return Inside(path, func() error {
		dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: from.Addr().AsSlice()}}
		conn, err := dialer.DialContext(t.Context(), "tcp4", to)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// datagramArrives sends one from an address of the pod to the node and listens for it.
func datagramArrives(t *testing.T, host, pod string, from netip.Prefix) bool {
	t.Helper()
	var receiver *net.UDPConn
	err := Inside(host, func() (err error) {
		receiver, err = net.ListenUDP("udp4", &net.UDPAddr{IP: NodeAddress.AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	err = Inside(pod, func() error {
		sender, err := net.DialUDP("udp4", &net.UDPAddr{IP: from.Addr().AsSlice()}, receiver.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return err
		}
		defer sender.Close()
		_, err = sender.Write([]byte("x"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _, err = receiver.ReadFrom(make([]byte, 1))
	return err == nil
}
