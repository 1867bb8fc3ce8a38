package node

import (
	"io"
	"log/slog"
	"net"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// Name of the one node.
const Name = "matryoshka"

// ClusterDomain of the host.
const ClusterDomain = "cluster.local"

// Config is what the supervisor hands to the inner process.
type Config struct {
	Layout  control.Layout
	Options control.Options
	// API and FrontDoor are the listeners on 127.0.0.1 of the machine.
	API, FrontDoor net.Listener
	// Reports goes to the supervisor: the ends of phases, and why the process ends.
	Reports io.Writer
	// Upstream is the machine's DNS server that cluster DNS asks for other names, as host:port; empty for none.
	Upstream string
	Logger   *slog.Logger
}
