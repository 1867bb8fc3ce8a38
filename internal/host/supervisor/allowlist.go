package supervisor

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// errNotAllowed is why a pull does not get to a private address of the machine.
var errNotAllowed = errors.New("image pulls may not reach this address; allow it with --pull-from")

// allowList is what image pulls may reach besides public addresses.
type allowList struct {
	names  map[string]bool
	ranges []netip.Prefix
}

func parseAllowList(entries []string) (allowList, error) {
	list := allowList{names: map[string]bool{}}
	for _, entry := range entries {
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			list.ranges = append(list.ranges, prefix.Masked())
			continue
		}
		if address, err := netip.ParseAddr(entry); err == nil {
			list.ranges = append(list.ranges, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		if entry == "" || strings.ContainsAny(entry, "/: ") {
			return list, fmt.Errorf("--pull-from: %q is no address, no range and no host name", entry)
		}
		list.names[strings.ToLower(entry)] = true
	}
	return list, nil
}

func (l allowList) allows(host string, address netip.Addr) bool {
	address = address.Unmap()
	if isPublic(address) || l.names[strings.ToLower(host)] {
		return true
	}
	for _, prefix := range l.ranges {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// sharedRange is for the customers behind a provider's NAT: not public, though Go does not count it as private.
var sharedRange = netip.MustParsePrefix("100.64.0.0/10")

func isPublic(address netip.Addr) bool {
	return address.IsGlobalUnicast() && !address.IsPrivate() && !sharedRange.Contains(address)
}
