package node

import (
	"io"
	"log/slog"
	"net"
	"net/netip"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

// Name of the first node, and WorkerName of the second one, where there is one.
const (
	Name       = "matryoshka"
	WorkerName = "matryoshka-worker"
)

// ClusterDomain of the host.
const ClusterDomain = "cluster.local"

// Config is what the supervisor hands to the inner process.
type Config struct {
	Layout  control.Layout
	Options control.Options
	// API and FrontDoor are the listeners on 127.0.0.1 of the machine; the worker has none.
	API, FrontDoor net.Listener
	// Reports goes to the supervisor: the ends of phases, and why the process ends.
	Reports io.Writer
	// Upstream is the machine's DNS server that cluster DNS asks for other names, as host:port; empty for none.
	Upstream string
	Logger   *slog.Logger
}

// place is one of the nodes, as its own components see it.
type place struct {
	layout  control.Layout
	name    string
	address netip.Addr
	// kubelet is the name of its kubelet's files.
	kubelet string
}

func (c *Config) node() place {
	return place{layout: c.Layout, name: Name, address: network.NodeAddress, kubelet: pki.Kubelet}
}

func (c *Config) worker() place {
	return place{layout: c.Layout.Worker(), name: WorkerName, address: network.WorkerAddress, kubelet: pki.WorkerKubelet}
}
