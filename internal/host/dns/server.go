// Package dns runs the cluster DNS of an embedded host: CoreDNS as a library with its kubernetes plugin.
//
// It listens at the node's own address; the Service of cluster DNS leads there. It is not the DNS of virtual clusters. Its
// invariants: it asks no other server unless one is given, and once it has started, what others in the process log is not its own.
package dns

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	// The plugins that the configuration below names.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	"github.com/miekg/dns"
	"k8s.io/klog/v2"
)

// Config of the server.
type Config struct {
	// Address to listen at, and its port.
	Address string
	Port    int
	// Domain of the cluster.
	Domain string
	// Kubeconfig of an identity that may list Services, EndpointSlices, Pods and Namespaces.
	Kubeconfig string
	// Upstream server for all other names, as host:port; empty for none.
	Upstream string
}

// Run serves until ctx ends, and calls started once when it does. Nobody may send the log of the standard library to klog before that.
func Run(ctx context.Context, config Config, started func()) error {
	caddy.Quiet, dnsserver.Quiet = true, true
	// The order in which plugins see a query; the list that CoreDNS brings names plugins that are not linked in.
	dnsserver.Directives = []string{"bind", "errors", "cache", "loadbalance", "kubernetes", "forward"}
	instance, err := caddy.Start(caddy.CaddyfileInput{
		Contents: []byte(corefile(config)), Filepath: "cluster DNS", ServerTypeName: "dns",
	})
	if err != nil {
		return fmt.Errorf("start cluster DNS: %w", err)
	}
	// Its kubernetes plugin has made klog write to the log of the standard library. When somebody makes that write to klog, which is what
	// components of Kubernetes do, the next message waits for itself, and everybody who logs waits for it.
	klog.ClearLogger()
	started()
	<-ctx.Done()
	for _, err := range instance.ShutdownCallbacks() {
		return fmt.Errorf("stop cluster DNS: %w", err)
	}
	return instance.Stop()
}

// corefile is the server's configuration. Queries for pod addresses are answered without a look at the pods, as clusters
// commonly do.
func corefile(config Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".:%d {\n\tbind %s\n\terrors\n\tloadbalance\n", config.Port, config.Address)
	fmt.Fprintf(&b, "\tkubernetes %s in-addr.arpa ip6.arpa {\n\t\tkubeconfig %q\n\t\tpods insecure\n\t\tttl 5\n", config.Domain, config.Kubeconfig)
	if config.Upstream != "" {
		b.WriteString("\t\tfallthrough in-addr.arpa ip6.arpa\n\t}\n")
		// Only names of the world outside: names of the cluster change, and the answer to them is in memory anyhow.
		fmt.Fprintf(&b, "\tcache 30 {\n\t\tdisable success %[1]s\n\t\tdisable denial %[1]s\n\t}\n\tforward . %[2]s\n}\n", config.Domain, config.Upstream)
		return b.String()
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

// Answers asks the server at address for a name of the cluster that always exists.
func Answers(ctx context.Context, address, domain string) error {
	query := new(dns.Msg).SetQuestion("kubernetes.default.svc."+domain+".", dns.TypeA)
	client := &dns.Client{Timeout: time.Second}
	answer, _, err := client.ExchangeContext(ctx, query, net.JoinHostPort(address, "53"))
	if err != nil {
		return fmt.Errorf("ask cluster DNS: %w", err)
	}
	if answer.Rcode != dns.RcodeSuccess || len(answer.Answer) == 0 {
		return fmt.Errorf("ask cluster DNS: answer %s with %d records", dns.RcodeToString[answer.Rcode], len(answer.Answer))
	}
	return nil
}
