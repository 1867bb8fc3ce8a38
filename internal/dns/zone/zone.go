// Package zone answers the names of virtual clusters: it is the one CoreDNS plugin of ours.
//
// Who asks is known from the source address alone, and decides what a name means: the same name is another Service in
// each virtual cluster. So nothing that this plugin answers may be cached after it, and it stands before every cache.
// Invariants: a source that is no tenant's pod learns nothing; a tenant is told of its own objects only; names of the
// cluster domain, and addresses of any virtual cluster, never go to an upstream resolver.
package zone

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnsutil"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/matryoshka-dev/matryoshka/internal/dns/hostview"
)

// ttl of every answer, in seconds, also of the negative ones.
const ttl = 5

// sourceTimeout is how long the question of an unknown source is held back. It is below the 5 seconds after which
// resolvers give up, and above the second or two that a kubelet needs to report the address of a new pod.
const sourceTimeout = 4 * time.Second

// Zone is the plugin. Next answers the names of the outside world.
type Zone struct {
	// Domain is the cluster domain of all virtual clusters, fully qualified and in lower case: "cluster.local.".
	Domain string
	// View of the host.
	View *hostview.View
	// Next answers what is not in the domain.
	Next plugin.Handler
	// sourceTimeout is sourceTimeout but in tests.
	sourceTimeout time.Duration
	limits        *limits
}

// New makes the plugin.
func New(domain string, view *hostview.View, next plugin.Handler) *Zone {
	return &Zone{
		Domain: dns.CanonicalName(domain), View: view, Next: next,
		sourceTimeout: sourceTimeout, limits: newLimits(),
	}
}

// Name is the name of the plugin.
func (z *Zone) Name() string { return "matryoshka" }

// ServeDNS answers one question.
func (z *Zone) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	state := request.Request{W: w, Req: r}
	if r.Opcode != dns.OpcodeQuery {
		return dns.RcodeNotImplemented, nil
	}
	id, ok := z.source(ctx, state)
	if !ok || !z.limits.allow(id) {
		return dns.RcodeRefused, nil
	}
	switch state.QType() {
	case dns.TypeAXFR, dns.TypeIXFR:
		return dns.RcodeRefused, nil
	}
	name := state.Name()
	if dns.IsSubDomain(z.Domain, name) {
		return z.answer(ctx, state, id, z.lookup(id, name, state.QName(), state.QType()))
	}
	if address, ok := reverseAddress(name); ok && z.View.IsKnown(address) {
		return z.answer(ctx, state, id, z.reverse(id, address, state.QName(), state.QType()))
	}
	return z.forward(ctx, w, r, id)
}

// source tells which virtual cluster asks.
func (z *Zone) source(ctx context.Context, state request.Request) (string, bool) {
	address, err := netip.ParseAddr(state.IP())
	if err != nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, z.sourceTimeout)
	defer cancel()
	return z.View.Tenant(ctx, address.Unmap().WithZone(""))
}

func (z *Zone) forward(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, id string) (int, error) {
	if z.Next == nil {
		return dns.RcodeRefused, nil
	}
	release, ok := z.limits.startForward(id)
	if !ok {
		return dns.RcodeRefused, nil
	}
	defer release()
	return plugin.NextOrFailure(z.Name(), z.Next, ctx, w, r)
}

// result is what is known of a name.
type result struct {
	// exists tells NODATA from NXDOMAIN when there is no answer.
	exists bool
	answer []dns.RR
	extra  []dns.RR
	// alias is an external name whose records belong to the answer too.
	alias string
}

func (z *Zone) answer(ctx context.Context, state request.Request, id string, found result) (int, error) {
	message := new(dns.Msg)
	message.SetReply(state.Req)
	message.Authoritative = true
	message.RecursionAvailable = true
	message.Answer = found.answer
	message.Extra = found.extra
	if found.alias != "" {
		z.follow(ctx, state, id, found.alias, message)
	}
	if !found.exists {
		message.Rcode = dns.RcodeNameError
	}
	if len(message.Answer) == 0 {
		message.Ns = []dns.RR{z.soa(zoneOf(state.Name(), z.Domain))}
	}
	state.SizeAndDo(message)
	return dns.RcodeSuccess, state.W.WriteMsg(message)
}

// zoneOf is the zone that a name without an answer is in: the domain, or the reverse tree of its address.
func zoneOf(name, domain string) string {
	if dns.IsSubDomain(domain, name) {
		return domain
	}
	_, parent, ok := strings.Cut(name, ".")
	if !ok || parent == "" {
		return name
	}
	return parent
}

func (z *Zone) soa(zone string) dns.RR {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      dnsutil.Join("ns", "dns", z.Domain),
		Mbox:    dnsutil.Join("hostmaster", z.Domain),
		Serial:  1,
		Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}

// reverseAddress reads the address out of a name of in-addr.arpa or ip6.arpa.
func reverseAddress(name string) (netip.Addr, bool) {
	text := dnsutil.ExtractAddressFromReverse(name)
	if text == "" {
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap(), err == nil
}
