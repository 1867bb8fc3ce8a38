package dns

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/forward"
	"github.com/coredns/coredns/plugin/pkg/proxy"
	"github.com/coredns/coredns/plugin/pkg/transport"
	mdns "github.com/miekg/dns"
)

const (
	resolvConf   = "/etc/resolv.conf"
	noUpstream   = "none"
	maxUpstreams = 8
)

// outside answers the names of the outside world: a cache that all tenants share, before the upstream resolvers.
type outside struct {
	cache   *cache.Cache
	forward *forward.Forward
}

func newOutside(addresses []string) *outside {
	o := &outside{cache: cache.New(), forward: forward.New()}
	for _, address := range addresses {
		o.forward.SetProxy(proxy.NewProxy("forward", address, transport.DNS))
	}
	o.cache.Next = o.forward
	return o
}

func (o *outside) stop() error { return o.forward.OnShutdown() }

// upstreams are the addresses of the resolvers that were asked for. None is not an error.
func upstreams(asked []string, resolvConf string) ([]string, error) {
	if len(asked) == 1 && asked[0] == noUpstream {
		return nil, nil
	}
	port := "53"
	if len(asked) == 0 {
		config, err := mdns.ClientConfigFromFile(resolvConf)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the upstream resolvers from %s: %w", resolvConf, err)
		}
		asked, port = config.Servers, config.Port
	}
	if len(asked) > maxUpstreams {
		return nil, fmt.Errorf("%d upstream resolvers are more than %d", len(asked), maxUpstreams)
	}
	var addresses []string
	for _, text := range asked {
		if address, err := netip.ParseAddr(text); err == nil {
			addresses = append(addresses, net.JoinHostPort(address.String(), port))
			continue
		}
		address, err := netip.ParseAddrPort(text)
		if err != nil {
			return nil, fmt.Errorf("upstream resolver %q must be an IP address, with or without a port", text)
		}
		addresses = append(addresses, address.String())
	}
	return addresses, nil
}
