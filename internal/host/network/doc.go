// Package network makes the network namespaces of an embedded host, one for each node, and the few ways through its wall: connections that
// are forwarded in, the egress link when it is asked for, and processes that are started inside.
//
// Everything has fixed addresses, because nothing else lives in the namespaces. Its invariant: in the machine's own
// namespace it makes nothing but listeners on 127.0.0.1 and, with egress by NAT only, one link and one nftables table that
// carry the host's ID.
package network

import "net/netip"

// Addresses in the host's network namespace. Hosts that run side by side use the same ones, each in its own namespace.
var (
	NodeAddress = netip.MustParseAddr("10.240.0.1")
	// WorkerAddress is that of the second node, where there is one, in a namespace of its own.
	WorkerAddress = netip.MustParseAddr("10.240.0.2")
	// DNSAddress is where cluster DNS listens: apart from the node's address, so that it can have port 53, and so that
	// network policies can tell it from the rest of the node.
	DNSAddress = netip.MustParseAddr("10.240.0.53")
	// PodRange is that of all pods; each node has a part of it, which the controllers give out in the order of the nodes.
	PodRange     = netip.MustParsePrefix("10.244.0.0/21")
	NodePods     = netip.MustParsePrefix("10.244.0.0/22")
	WorkerPods   = netip.MustParsePrefix("10.244.4.0/22")
	ServiceRange = netip.MustParsePrefix("10.96.0.0/16")
	APIService   = netip.MustParseAddr("10.96.0.1")
	DNSService   = netip.MustParseAddr("10.96.0.10")
)

// Ports at the addresses of nodes, and at DNSAddress.
const (
	APIPort     = 6443
	KubeletPort = 10250
	MetricsPort = 10251
	DNSPort     = 53
)

// nodeLink is a bridge without ports: it only holds the addresses of the node. Not every kernel has dummy links.
const nodeLink = "node0"
