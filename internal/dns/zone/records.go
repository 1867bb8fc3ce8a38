package zone

import (
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

func (q query) header(rrtype uint16) dns.RR_Header { return header(q.qname, rrtype) }

func header(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// addresses makes the A or AAAA records that were asked for.
func (q query) addresses(owner string, addresses []netip.Addr) []dns.RR {
	var records []dns.RR
	for _, address := range addresses {
		record := addressRecord(owner, address)
		if record.Header().Rrtype == q.qtype {
			records = append(records, record)
		}
	}
	return records
}

// allAddresses makes A and AAAA records.
func (q query) allAddresses(owner string, addresses []netip.Addr) []dns.RR {
	records := make([]dns.RR, 0, len(addresses))
	for _, address := range addresses {
		records = append(records, addressRecord(owner, address))
	}
	return records
}

func addressRecord(owner string, address netip.Addr) dns.RR {
	if address.Is4() {
		return &dns.A{Hdr: header(owner, dns.TypeA), A: net.IP(address.AsSlice())}
	}
	return &dns.AAAA{Hdr: header(owner, dns.TypeAAAA), AAAA: net.IP(address.AsSlice())}
}

func (q query) srv(port int32, target string) dns.RR {
	return &dns.SRV{Hdr: q.header(dns.TypeSRV), Priority: 0, Weight: 100, Port: uint16(port), Target: target}
}

// dashed writes an address as one label: 1-2-3-4, or an IPv6 address with all its zeros.
func dashed(address netip.Addr) string {
	if address.Is4() {
		return strings.ReplaceAll(address.String(), ".", "-")
	}
	return strings.ReplaceAll(address.StringExpanded(), ":", "-")
}

// parseDashed reads an address from a label. IPv6 may be written short, as 2001-db8--1.
func parseDashed(label string) (netip.Addr, bool) {
	if strings.Trim(label, "0123456789-") == "" && strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		address, err := netip.ParseAddr(strings.ReplaceAll(label, "-", "."))
		return address, err == nil
	}
	address, err := netip.ParseAddr(strings.ReplaceAll(label, "-", ":"))
	return address.Unmap(), err == nil && address.Is6() && address.Zone() == ""
}
