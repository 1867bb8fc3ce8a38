package networkpolicy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
)

// Ruleset is what the kernel gets to know, in a form that can be compared.
type Ruleset struct {
	// Ingress and Egress lead from a pod's address to the chain that judges it. Pods that no policy selects are in neither.
	Ingress, Egress map[netip.Addr]string
	Sets            []Set
	Chains          []Chain
}

// Set of addresses, or of addresses with protocol and port.
type Set struct {
	Name string
	Type string
	// Elements are the parts of each element.
	Elements [][]string
}

// Chain of rules, in the syntax of nftables.
type Chain struct {
	Name  string
	Rules []string
}

// Types of sets.
const (
	addressSet  = "ipv4_addr"
	endpointSet = "ipv4_addr . inet_proto . inet_service"
)

// refusal ends a chain that has accepted nothing. The sender is told, so that a program sees at once what happens.
const refusal = "reject with icmp type admin-prohibited"

// direction is one half of a policy.
type direction struct {
	kind networkingv1.PolicyType
	// peer and own are the fields of a packet with the address of the peer and of the selected pod.
	peer, own string
}

var (
	ingress = direction{networkingv1.PolicyTypeIngress, "ip saddr", "ip daddr"}
	egress  = direction{networkingv1.PolicyTypeEgress, "ip daddr", "ip saddr"}
)

// rule is an ingress or egress rule of a policy: both have the same shape.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

// compiler collects sets and chains, each once.
type compiler struct {
	state  *State
	sets   map[string]Set
	chains map[string]Chain
}

// Compile turns policies into rules. It is deterministic: the same state gives the same rules.
func Compile(state State) Ruleset {
	c := &compiler{state: &state, sets: map[string]Set{}, chains: map[string]Chain{}}
	rules := Ruleset{Ingress: c.isolate(ingress), Egress: c.isolate(egress)}
	for _, name := range sortedKeys(c.sets) {
		rules.Sets = append(rules.Sets, c.sets[name])
	}
	// Chains of policies before the chains of pods that jump to them.
	for _, prefix := range []string{policyPrefix, podsPrefix} {
		for _, name := range sortedKeys(c.chains) {
			if strings.HasPrefix(name, prefix) {
				rules.Chains = append(rules.Chains, c.chains[name])
			}
		}
	}
	return rules
}

const (
	policyPrefix = "policy-"
	podsPrefix   = "pods-"
)

// isolate returns for each pod that a policy selects in this direction the chain that judges it. Pods that are selected
// by the same policies share a chain.
func (c *compiler) isolate(d direction) map[netip.Addr]string {
	policies := map[netip.Addr][]string{}
	for _, policy := range c.state.Policies {
		if !slices.Contains(policy.Spec.PolicyTypes, d.kind) {
			continue
		}
		selected := c.state.selectPods(policy.Namespace, networkingv1.NetworkPolicyPeer{PodSelector: &policy.Spec.PodSelector})
		if len(selected) == 0 {
			continue
		}
		chain := c.policyChain(d, policy, selected)
		for _, pod := range selected {
			policies[pod.Address] = append(policies[pod.Address], chain)
		}
	}
	isolated := map[netip.Addr]string{}
	for address, chains := range policies {
		isolated[address] = c.podsChain(d, chains)
	}
	return isolated
}

// podsChain tries the chains of all policies; what none has accepted is refused.
func (c *compiler) podsChain(d direction, policies []string) string {
	slices.Sort(policies)
	policies = slices.Compact(policies)
	name := podsPrefix + strings.ToLower(string(d.kind)) + "-" + hash(policies...)
	if _, found := c.chains[name]; found {
		return name
	}
	chain := Chain{Name: name}
	for _, policy := range policies {
		chain.Rules = append(chain.Rules, "jump "+policy)
	}
	chain.Rules = append(chain.Rules, refusal)
	c.chains[name] = chain
	return name
}

// policyChain accepts what one policy allows and returns for the rest.
func (c *compiler) policyChain(d direction, policy *networkingv1.NetworkPolicy, selected []Pod) string {
	name := policyPrefix + strings.ToLower(string(d.kind)) + "-" + hash(policy.Namespace, policy.Name)
	chain := Chain{Name: name}
	for _, rule := range rulesOf(d, policy) {
		for _, peer := range c.peerMatches(d, policy.Namespace, rule.peers) {
			for _, port := range c.portMatches(d, rule, peer, selected) {
				chain.Rules = append(chain.Rules, strings.Join(nonEmpty(peer.match, port, "accept"), " "))
			}
		}
	}
	c.chains[name] = chain
	return name
}

func rulesOf(d direction, policy *networkingv1.NetworkPolicy) []rule {
	var rules []rule
	if d.kind == networkingv1.PolicyTypeIngress {
		for _, r := range policy.Spec.Ingress {
			rules = append(rules, rule{r.From, r.Ports})
		}
		return rules
	}
	for _, r := range policy.Spec.Egress {
		rules = append(rules, rule{r.To, r.Ports})
	}
	return rules
}

// peerMatch matches packets by the peer's address.
type peerMatch struct {
	match string
	// pods that the peer stands for, by which names of ports are resolved.
	pods []Pod
}

// peerMatches returns one match for all selected pods and one for each range.
func (c *compiler) peerMatches(d direction, namespace string, peers []networkingv1.NetworkPolicyPeer) []peerMatch {
	if len(peers) == 0 {
		return []peerMatch{{pods: c.state.Pods}}
	}
	var matches []peerMatch
	var pods []Pod
	for _, peer := range peers {
		if peer.IPBlock == nil {
			pods = append(pods, c.state.selectPods(namespace, peer)...)
			continue
		}
		if match, ok := blockMatch(d, peer.IPBlock); ok {
			matches = append(matches, peerMatch{match: match, pods: podsIn(peer.IPBlock, c.state.Pods)})
		}
	}
	if len(pods) == 0 {
		return matches
	}
	elements := make([][]string, 0, len(pods))
	for _, pod := range pods {
		elements = append(elements, []string{pod.Address.String()})
	}
	return append(matches, peerMatch{match: d.peer + " @" + c.set(addressSet, elements), pods: pods})
}

// blockMatch matches a range without its exceptions. There is nothing to match in ranges of IPv6.
func blockMatch(d direction, block *networkingv1.IPBlock) (string, bool) {
	prefix, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !prefix.Addr().Is4() {
		return "", false
	}
	parts := []string{}
	if prefix.Bits() > 0 {
		parts = append(parts, d.peer+" "+prefix.Masked().String())
	}
	for _, except := range block.Except {
		if excepted, err := netip.ParsePrefix(except); err == nil && excepted.Addr().Is4() {
			parts = append(parts, d.peer+" != "+excepted.Masked().String())
		}
	}
	return strings.Join(parts, " "), true
}

func podsIn(block *networkingv1.IPBlock, pods []Pod) []Pod {
	prefix, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(pods), func(pod Pod) bool { return !prefix.Contains(pod.Address) })
}

// set makes a set, named by its content, so that equal ones are one.
func (c *compiler) set(kind string, elements [][]string) string {
	slices.SortFunc(elements, slices.Compare)
	elements = slices.CompactFunc(elements, slices.Equal)
	parts := []string{kind}
	for _, element := range elements {
		parts = append(parts, strings.Join(element, " "))
	}
	name := "set-" + hash(parts...)
	c.sets[name] = Set{Name: name, Type: kind, Elements: elements}
	return name
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s,", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(part string) bool { return part == "" })
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
