package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

// openEgress opens or closes the way out of the pods, and returns the DNS server that cluster DNS may ask.
func openEgress(ctx context.Context, layout control.Layout, options control.Options) (upstream string, err error) {
	names := network.Egress{Link: layout.EgressLink(), Table: layout.EgressTable()}
	mark := layout.Run(control.EgressMark)
	if options.Egress == control.EgressNAT {
		// Before the first thing that it stands for, so that a stop after a crash finds it.
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			return "", fmt.Errorf("open egress: %w", err)
		}
		if err := network.OpenEgress(ctx, layout.NetworkNamespace(), names); err != nil {
			return "", err
		}
		return machineResolver()
	}
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	// A killed host has had egress, and this one has its namespace.
	if err := network.CloseEgress(ctx, names); err != nil {
		return "", err
	}
	return "", os.Remove(mark)
}

// machineResolver is the machine's DNS server as seen from another namespace. A stub at a loopback address is not: then
// systemd's list of the real ones is asked.
func machineResolver() (string, error) {
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("find the machine's DNS server: %w", err)
		}
		if server := firstServer(string(content)); server != "" {
			return server, nil
		}
	}
	return "", nil
}

func firstServer(resolvConf string) string {
	for line := range strings.Lines(resolvConf) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if address, err := netip.ParseAddr(fields[1]); err == nil && address.Is4() && !address.IsLoopback() {
			return net.JoinHostPort(address.String(), "53")
		}
	}
	return ""
}
