package networkpolicy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// portRange from first to last, both included.
type portRange struct{ first, last int32 }

// portMatches returns matches of a rule's ports, at most one for each protocol and one for all named ports; an empty match
// is any port. Names are those of the receivers' ports; a name that none has matches nothing.
func (c *compiler) portMatches(ports []networkingv1.NetworkPolicyPort, receivers []Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	numbers := map[corev1.Protocol][]portRange{}
	names := map[NamedPort]bool{}
	for _, port := range ports {
		protocol := protocolOf(port.Protocol)
		switch {
		case port.Port == nil:
			numbers[protocol] = append(numbers[protocol], portRange{0, 65535})
		case port.Port.Type == intstr.String:
			names[NamedPort{Name: port.Port.StrVal, Protocol: protocol}] = true
		default:
			numbers[protocol] = append(numbers[protocol], numberedPorts(port))
		}
	}
	var matches []string
	for _, protocol := range sortedKeys(numbers) {
		matches = append(matches, c.numbersMatch(protocol, merged(numbers[protocol])))
	}
	if elements := resolve(names, receivers); len(elements) > 0 {
		matches = append(matches, "ip daddr . meta l4proto . th dport @"+c.set(endpointSet, elements))
	}
	return matches
}

func numberedPorts(port networkingv1.NetworkPolicyPort) portRange {
	ports := portRange{port.Port.IntVal, port.Port.IntVal}
	if port.EndPort != nil && *port.EndPort > ports.first {
		ports.last = *port.EndPort
	}
	return ports
}

// merged sorts ranges and makes one of those that overlap or touch.
func merged(ranges []portRange) []portRange {
	slices.SortFunc(ranges, func(a, b portRange) int { return int(a.first - b.first) })
	kept := ranges[:1]
	for _, next := range ranges[1:] {
		if last := &kept[len(kept)-1]; next.first <= last.last+1 {
			last.last = max(last.last, next.last)
		} else {
			kept = append(kept, next)
		}
	}
	return kept
}

func (c *compiler) numbersMatch(protocol corev1.Protocol, ranges []portRange) string {
	if ranges[0] == (portRange{0, 65535}) {
		return "meta l4proto " + keyword(protocol)
	}
	match := keyword(protocol) + " dport "
	if len(ranges) == 1 {
		return match + ranges[0].String()
	}
	elements := make([][]string, 0, len(ranges))
	for _, ports := range ranges {
		elements = append(elements, []string{ports.String()})
	}
	return match + "@" + c.set(portSet, elements)
}

// String is the range in the syntax of nftables.
func (r portRange) String() string {
	if r.first == r.last {
		return strconv.Itoa(int(r.first))
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

// resolve finds the ports of these names: each pod may have another number for one.
func resolve(names map[NamedPort]bool, receivers []Pod) [][]string {
	if len(names) == 0 {
		return nil
	}
	var elements [][]string
	for _, pod := range receivers {
		for _, port := range pod.Ports {
			if names[NamedPort{Name: port.Name, Protocol: port.Protocol}] {
				elements = append(elements, []string{pod.Address.String(), keyword(port.Protocol), strconv.Itoa(int(port.Port))})
			}
		}
	}
	return elements
}

// keyword is what nftables calls a protocol.
func keyword(protocol corev1.Protocol) string { return strings.ToLower(string(protocol)) }
