package networkpolicy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
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

// isEmpty says that no pod is isolated. Then there is no table, and no packet is looked at.
func (r Ruleset) isEmpty() bool { return len(r.Ingress) == 0 && len(r.Egress) == 0 }

// Set of addresses, of ports, or of addresses with protocol and port.
type Set struct {
	Name string
	Type SetType
	// Elements are the parts of each element. Those of intervals do not overlap.
	Elements [][]string
}

func (s Set) name() string { return s.Name }

// SetType is what a set holds.
type SetType struct {
	Key string
	// Intervals says that elements are ranges.
	Intervals bool
}

// Chain of rules, in the syntax of nftables.
type Chain struct {
	Name  string
	Rules []string
}

func (c Chain) name() string { return c.Name }

// Types of sets.
var (
	addressSet  = SetType{Key: "ipv4_addr"}
	blockSet    = SetType{Key: "ipv4_addr", Intervals: true}
	portSet     = SetType{Key: "inet_service", Intervals: true}
	endpointSet = SetType{Key: "ipv4_addr . inet_proto . inet_service"}
)

// refusal ends a chain that has accepted nothing.
const refusal = "goto " + refuseChain

// direction is one half of a policy.
type direction struct {
	kind networkingv1.PolicyType
	// peer is the field of a packet with the address of the peer.
	peer string
}

var (
	ingress = direction{networkingv1.PolicyTypeIngress, "ip saddr"}
	egress  = direction{networkingv1.PolicyTypeEgress, "ip daddr"}
)

// rule is an ingress or egress rule of a policy: both have the same shape.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

// compiler collects sets and chains, each once.
type compiler struct {
	state *State
	// pods by namespace: most selectors are about one.
	pods map[string][]Pod
	// namespaces by the text of the selector that matches them.
	namespaces map[string][]string
	sets       map[string]Set
	chains     map[string]Chain
}

// Compile turns policies into rules. It is deterministic: the same state gives the same rules.
func Compile(state State) Ruleset {
	c := &compiler{
		state: &state, pods: map[string][]Pod{}, namespaces: map[string][]string{},
		sets: map[string]Set{}, chains: map[string]Chain{},
	}
	for _, pod := range state.Pods {
		c.pods[pod.Namespace] = append(c.pods[pod.Namespace], pod)
	}
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
		selected := c.selectPods(policy.Namespace, networkingv1.NetworkPolicyPeer{PodSelector: &policy.Spec.PodSelector})
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

// policyChain accepts what one policy allows and returns for the rest. It grows with the size of the policy and not with the
// product of its peers and ports: a tenant who writes a large one must not stop the host.
func (c *compiler) policyChain(d direction, policy *networkingv1.NetworkPolicy, selected []Pod) string {
	name := policyPrefix + strings.ToLower(string(d.kind)) + "-" + hash(policy.Namespace, policy.Name)
	chain := Chain{Name: name}
	for _, rule := range rulesOf(d, policy) {
		for _, peer := range c.peerMatches(d, policy.Namespace, rule.peers) {
			// The port is the receiver's: the selected pod's on the way in, the peer's on the way out.
			receivers := selected
			if d.kind == networkingv1.PolicyTypeEgress {
				receivers = peer.pods
			}
			for _, port := range c.portMatches(rule.ports, receivers) {
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

// set makes a set, named by its content, so that equal ones are one.
func (c *compiler) set(kind SetType, elements [][]string) string {
	slices.SortFunc(elements, slices.Compare)
	elements = slices.CompactFunc(elements, slices.Equal)
	parts := []string{kind.Key, fmt.Sprint(kind.Intervals)}
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

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return sortedKeysBy(m, cmp.Compare[K]) }

func sortedKeysBy[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}
