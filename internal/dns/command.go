// Package dns is matryd dns: the names of all virtual clusters of a host cluster, answered by one small Deployment.
//
// It is CoreDNS as a library, put together by code: our plugin (package zone) over a view of the host's objects
// (package hostview), then CoreDNS's cache and forward for the outside world. docs/design/0002-dns.md says why. It makes
// no objects and talks to no tenant's API server, so that names survive restarts of control planes and of the agent.
package dns

import (
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Options of matryd dns.
type Options struct {
	// Listen is the address of DNS, UDP and TCP.
	Listen string
	// HTTPListen is the address of /healthz, /readyz and /metrics.
	HTTPListen string
	// ClosedListen is an address that says nothing and that a NetworkPolicy keeps everybody from; see package networkisolation. Empty
	// means none.
	ClosedListen string
	// ClusterDomain of all virtual clusters.
	ClusterDomain string
	// Kubeconfig of the host cluster; empty means the one of the pod.
	Kubeconfig string
	// Upstream resolvers, as host or host:port; empty means those of /etc/resolv.conf, "none" means none.
	Upstream []string
}

// NewCommand is matryd dns.
func NewCommand() *cobra.Command {
	options := Options{}
	command := &cobra.Command{
		Use:   "dns",
		Short: "Answer the names of all virtual clusters of a host cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			return Run(cmd.Context(), options, slog.Default())
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Listen, "listen", ":1053", "address of DNS, UDP and TCP")
	flags.StringVar(&options.HTTPListen, "http-listen", ":8081", "address of /healthz, /readyz and /metrics")
	flags.StringVar(&options.ClosedListen, "closed-listen", "", "address that a NetworkPolicy closes, for the agent to see whether it is closed")
	flags.StringVar(&options.ClusterDomain, "cluster-domain", "cluster.local", "cluster domain of the virtual clusters")
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "kubeconfig of the host cluster (default: the pod's own service account)")
	flags.StringSliceVar(&options.Upstream, "upstream", nil,
		`resolvers of all other names, as host[:port]; "none" refuses them (default: the nameservers of /etc/resolv.conf)`)
	return command
}

// Validate tells what is wrong with the options.
func (o Options) Validate() error {
	for flag, address := range map[string]string{"--listen": o.Listen, "--http-listen": o.HTTPListen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%s %q must have the form host:port: %w", flag, address, err)
		}
	}
	if _, _, err := net.SplitHostPort(o.ClosedListen); o.ClosedListen != "" && err != nil {
		return fmt.Errorf("--closed-listen %q must have the form host:port: %w", o.ClosedListen, err)
	}
	if problems := validation.IsDNS1123Subdomain(o.ClusterDomain); len(problems) > 0 {
		return fmt.Errorf("--cluster-domain %q: %s", o.ClusterDomain, problems[0])
	}
	return nil
}
