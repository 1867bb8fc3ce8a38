package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/coredns/coredns/plugin/pkg/dnsutil"
	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/matryoshka-dev/matryoshka/internal/dns/hostview"
)

// schemaVersion is the version of the Kubernetes DNS specification that the names follow.
const schemaVersion = "1.1.0"

// query is a question of a tenant for one name.
type query struct {
	*Zone
	id    string
	qname string // as it was asked, for the owner of the records
	qtype uint16
}

// lookup finds a name of the cluster domain. name is in lower case and in the domain.
func (z *Zone) lookup(id, name, qname string, qtype uint16) result {
	q := query{Zone: z, id: id, qname: qname, qtype: qtype}
	relative := strings.TrimSuffix(strings.TrimSuffix(name, z.Domain), ".")
	if relative == "" {
		return q.apex()
	}
	labels := dns.SplitDomainName(relative + ".")
	last := len(labels) - 1
	if len(labels) == 1 {
		return q.top(labels[0])
	}
	namespace, rest := labels[last-1], labels[:last-1]
	if len(validation.IsDNS1123Label(namespace)) > 0 {
		return result{}
	}
	switch labels[last] {
	case "svc":
		return q.service(namespace, rest)
	case "pod":
		return q.pod(namespace, rest)
	}
	return result{}
}

func (q query) apex() result {
	found := result{exists: true}
	if q.qtype == dns.TypeSOA {
		found.answer = []dns.RR{q.soa(q.qname)}
	}
	return found
}

func (q query) top(label string) result {
	switch label {
	case "svc", "pod":
		return result{exists: true}
	case "dns-version":
		found := result{exists: true}
		if q.qtype == dns.TypeTXT {
			found.answer = []dns.RR{&dns.TXT{Hdr: q.header(dns.TypeTXT), Txt: []string{schemaVersion}}}
		}
		return found
	}
	return result{}
}

// pod answers 1-2-3-4.<namespace>.pod.<domain>, for the tenant's own pods only.
func (q query) pod(namespace string, rest []string) result {
	switch len(rest) {
	case 0:
		return result{exists: q.View.HasNamespace(q.id, namespace)}
	case 1:
	default:
		return result{}
	}
	address, ok := parseDashed(rest[0])
	if !ok {
		return result{}
	}
	pod, ok := q.View.PodByAddress(q.id, address)
	if !ok || pod.Namespace != namespace {
		return result{}
	}
	return result{exists: true, answer: q.addresses(q.qname, []netip.Addr{address})}
}

// service answers all names below <namespace>.svc.<domain>.
func (q query) service(namespace string, rest []string) result {
	switch len(rest) {
	case 0:
		return result{exists: q.View.HasNamespace(q.id, namespace)}
	case 1:
		return q.serviceName(namespace, rest[0])
	case 2:
		if strings.HasPrefix(rest[0], "_") {
			// _tcp.web: there may be names below it.
			service, ok := q.View.Service(q.id, namespace, rest[1])
			return result{exists: ok && hasProtocol(service.Ports, rest[0])}
		}
		return q.hostname(namespace, rest[1], rest[0])
	case 3:
		return q.port(namespace, rest[2], rest[0], rest[1])
	}
	return result{}
}

func (q query) serviceName(namespace, name string) result {
	service, ok := q.View.Service(q.id, namespace, name)
	if !ok {
		// web-0.web.default.svc exists without a Service, so the name above it does, too.
		return result{exists: q.View.HasSubdomain(q.id, namespace, name)}
	}
	if service.ExternalName != "" {
		return q.externalName(service)
	}
	found := result{exists: true}
	if q.qtype == dns.TypeSRV {
		for _, port := range service.Ports {
			q.addPort(&found, service, port.Name, strings.ToLower(string(port.Protocol)))
		}
		return found
	}
	addresses := service.Addresses
	if service.Headless {
		for _, endpoint := range q.View.Endpoints(q.id, namespace, name) {
			addresses = append(addresses, endpoint.Address)
		}
		// Clients take the first.
		//nolint:gosec // the order spreads clients over endpoints; nobody gains anything by guessing it
		rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	}
	found.answer = q.addresses(q.qname, addresses)
	// Without a single ready endpoint a headless Service has no name, as in any cluster.
	found.exists = !service.Headless || len(addresses) > 0
	return found
}

func (q query) externalName(service hostview.Service) result {
	target := dns.Fqdn(strings.ToLower(service.ExternalName))
	if _, ok := dns.IsDomainName(target); !ok {
		return result{exists: true}
	}
	found := result{exists: true}
	if q.qtype == dns.TypeA || q.qtype == dns.TypeAAAA || q.qtype == dns.TypeCNAME {
		found.answer = []dns.RR{&dns.CNAME{Hdr: q.header(dns.TypeCNAME), Target: target}}
	}
	if q.qtype != dns.TypeCNAME && len(found.answer) > 0 {
		found.alias = target
	}
	return found
}

// hostname answers <hostname>.<subdomain>.<namespace>.svc, of ready endpoints and of every pod that has both names,
// and <1-2-3-4>.<service>.<namespace>.svc of endpoints without a hostname.
func (q query) hostname(namespace, subdomain, hostname string) result {
	var addresses []netip.Addr
	seen := map[netip.Addr]bool{}
	add := func(address netip.Addr) {
		if !seen[address] {
			seen[address] = true
			addresses = append(addresses, address)
		}
	}
	if _, ok := q.View.Service(q.id, namespace, subdomain); ok {
		for _, endpoint := range q.View.Endpoints(q.id, namespace, subdomain) {
			if endpointLabel(endpoint) == hostname {
				add(endpoint.Address)
			}
		}
	}
	for _, pod := range q.View.PodsByHostname(q.id, namespace, subdomain, hostname) {
		for _, address := range pod.Addresses {
			add(address)
		}
	}
	return result{exists: len(addresses) > 0, answer: q.addresses(q.qname, addresses)}
}

// port answers _<port>._<protocol>.<service>.<namespace>.svc.
func (q query) port(namespace, name, port, protocol string) result {
	port, ok := strings.CutPrefix(port, "_")
	protocol, isProtocol := strings.CutPrefix(protocol, "_")
	if !ok || !isProtocol || port == "" {
		return result{}
	}
	service, found := q.View.Service(q.id, namespace, name)
	if !found || service.ExternalName != "" {
		return result{}
	}
	answer := result{}
	q.addPort(&answer, service, port, protocol)
	answer.exists = len(answer.answer) > 0
	if q.qtype != dns.TypeSRV {
		return result{exists: answer.exists}
	}
	return answer
}

// addPort adds the SRV records of one port of a Service, and the addresses of their targets.
func (q query) addPort(found *result, service hostview.Service, name, protocol string) {
	owner := dnsutil.Join(service.Name, service.Namespace, "svc", q.Domain)
	if !service.Headless {
		for _, port := range service.Ports {
			if port.Name == name && strings.EqualFold(string(port.Protocol), protocol) {
				found.answer = append(found.answer, q.srv(port.Port, owner))
			}
		}
		if len(found.answer) > 0 && len(found.extra) == 0 {
			found.extra = q.allAddresses(owner, service.Addresses)
		}
		return
	}
	targets := map[string]bool{}
	for _, endpoint := range q.View.Endpoints(q.id, service.Namespace, service.Name) {
		target := dnsutil.Join(endpointLabel(endpoint), owner)
		for _, port := range endpoint.Ports {
			if port.Name != name || !strings.EqualFold(string(port.Protocol), protocol) {
				continue
			}
			record := q.srv(port.Port, target)
			// One endpoint is in two slices when it has two families.
			if key := fmt.Sprintf("%d %s", port.Port, target); !targets[key] {
				targets[key] = true
				found.answer = append(found.answer, record)
			}
			found.extra = append(found.extra, q.allAddresses(target, []netip.Addr{endpoint.Address})...)
		}
	}
}

// endpointLabel is the name of an endpoint below its Service.
func endpointLabel(endpoint hostview.Endpoint) string {
	if endpoint.Hostname != "" {
		return endpoint.Hostname
	}
	return dashed(endpoint.Address)
}

func hasProtocol(ports []hostview.Port, label string) bool {
	for _, port := range ports {
		if strings.EqualFold("_"+string(port.Protocol), label) {
			return true
		}
	}
	return false
}

// reverse answers the PTR question for an address that belongs to some virtual cluster.
func (z *Zone) reverse(id string, address netip.Addr, qname string, qtype uint16) result {
	q := query{Zone: z, id: id, qname: qname, qtype: qtype}
	target := ""
	if service, ok := z.View.ServiceByAddress(id, address); ok {
		target = dnsutil.Join(service.Name, service.Namespace, "svc", z.Domain)
	} else if pod, ok := z.View.PodByAddress(id, address); ok {
		target = dnsutil.Join(dashed(address), pod.Namespace, "pod", z.Domain)
		if pod.Hostname != "" && pod.Subdomain != "" {
			target = dnsutil.Join(pod.Hostname, pod.Subdomain, pod.Namespace, "svc", z.Domain)
		}
	}
	if target == "" {
		return result{} // another tenant's
	}
	found := result{exists: true}
	if qtype == dns.TypePTR {
		found.answer = []dns.RR{&dns.PTR{Hdr: q.header(dns.TypePTR), Ptr: target}}
	}
	return found
}
