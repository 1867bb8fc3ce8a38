package networkpolicy

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// portMatches returns one match for each port of a rule; an empty match is any port. A name that no pod has matches nothing.
func (c *compiler) portMatches(d direction, r rule, peer peerMatch, selected []Pod) []string {
	if len(r.ports) == 0 {
		return []string{""}
	}
	// The port is the receiver's: the selected pod's on the way in, the peer's on the way out.
	receivers := selected
	if d.kind == networkingv1.PolicyTypeEgress {
		receivers = peer.pods
	}
	var matches []string
	for _, port := range r.ports {
		protocol := protocolOf(port.Protocol)
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+keyword(protocol))
		case port.Port.Type == intstr.String:
			if elements := resolve(port.Port.StrVal, protocol, receivers); len(elements) > 0 {
				matches = append(matches, "ip daddr . meta l4proto . th dport @"+c.set(endpointSet, elements))
			}
		default:
			matches = append(matches, numberMatch(protocol, port))
		}
	}
	return matches
}

func numberMatch(protocol corev1.Protocol, port networkingv1.NetworkPolicyPort) string {
	match := fmt.Sprintf("%s dport %d", keyword(protocol), port.Port.IntVal)
	if port.EndPort != nil && *port.EndPort > port.Port.IntVal {
		match += "-" + strconv.Itoa(int(*port.EndPort))
	}
	return match
}

// resolve finds the ports of this name: each pod may have another number for it.
func resolve(name string, protocol corev1.Protocol, receivers []Pod) [][]string {
	var elements [][]string
	for _, pod := range receivers {
		for _, port := range pod.Ports {
			if port.Name == name && port.Protocol == protocol {
				elements = append(elements, []string{pod.Address.String(), keyword(protocol), strconv.Itoa(int(port.Port))})
			}
		}
	}
	return elements
}

// keyword is what nftables calls a protocol.
func keyword(protocol corev1.Protocol) string { return strings.ToLower(string(protocol)) }
