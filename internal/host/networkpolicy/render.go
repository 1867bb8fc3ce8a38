package networkpolicy

import (
	"net/netip"

	"sigs.k8s.io/knftables"
)

// tableName is the one table of the rules, in the host's network namespace.
const tableName = "matryoshka-network-policy"

const (
	ingressMap = "ingress-pods"
	egressMap  = "egress-pods"
	selfSet    = "self"

	refuseChain = "refuse"
)

// refuse tells the sender, so that a program sees at once what happens. A socket that is just about to connect overhears
// the ICMP message, and waits a second for the next one: for TCP the connection is reset.
var refuse = Chain{Name: refuseChain, Rules: []string{
	"meta l4proto tcp reject with tcp reset",
	"reject with icmp type admin-prohibited",
}}

// The judgement of the sender's pod comes before that of the receiver's, each in a chain of its own: an accept ends one
// chain only, so both must agree.
const (
	egressPriority  = knftables.FilterPriority + "-10"
	ingressPriority = knftables.FilterPriority + "-5"
)

// renderAll replaces the whole table. Without isolated pods there is no table, and no packet is looked at.
func renderAll(rules Ruleset, tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if rules.isEmpty() {
		return
	}
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("NetworkPolicies of the embedded host")})
	for _, set := range rules.Sets {
		renderSet(tx, set)
	}
	chains := append([]Chain{refuse}, rules.Chains...)
	for _, chain := range chains {
		tx.Add(&knftables.Chain{Name: chain.Name})
	}
	for _, chain := range chains {
		renderRules(tx, chain)
	}
	renderMap(tx, ingressMap, rules.Ingress)
	renderMap(tx, egressMap, rules.Egress)
	renderSelf(tx, rules)
	renderHook(tx, "egress", knftables.ForwardHook, egressPriority, "ip saddr vmap @"+egressMap)
	// What is for the node itself is not forwarded: DNS and the API server live there.
	renderHook(tx, "egress-to-node", knftables.InputHook, egressPriority, "ip saddr vmap @"+egressMap)
	renderHook(tx, "ingress", knftables.ForwardHook, ingressPriority, "ip daddr vmap @"+ingressMap)
}

func renderSet(tx *knftables.Transaction, set Set) {
	added := &knftables.Set{Name: set.Name, Type: set.Type.Key}
	if set.Type.Intervals {
		added.Flags = []knftables.SetFlag{knftables.IntervalFlag}
	}
	tx.Add(added)
	for _, element := range set.Elements {
		tx.Add(&knftables.Element{Set: set.Name, Key: element})
	}
}

func renderRules(tx *knftables.Transaction, chain Chain) {
	for _, rule := range chain.Rules {
		tx.Add(&knftables.Rule{Chain: chain.Name, Rule: rule})
	}
}

func renderMap(tx *knftables.Transaction, name string, pods map[netip.Addr]string) {
	tx.Add(&knftables.Map{Name: name, Type: "ipv4_addr : verdict"})
	for _, address := range sortedKeysBy(pods, netip.Addr.Compare) {
		tx.Add(verdict(name, address, pods[address]))
	}
}

func verdict(mapName string, address netip.Addr, chain string) *knftables.Element {
	return &knftables.Element{Map: mapName, Key: []string{address.String()}, Value: []string{"goto " + chain}}
}

// renderSelf lets a pod reach itself through a Service, whatever the policies say.
func renderSelf(tx *knftables.Transaction, rules Ruleset) {
	tx.Add(&knftables.Set{Name: selfSet, Type: "ipv4_addr . ipv4_addr"})
	for _, address := range sortedKeysBy(isolated(rules), netip.Addr.Compare) {
		tx.Add(self(address))
	}
}

func self(address netip.Addr) *knftables.Element {
	return &knftables.Element{Set: selfSet, Key: []string{address.String(), address.String()}}
}

// isolated are the pods that a policy selects in any direction.
func isolated(rules Ruleset) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, pods := range []map[netip.Addr]string{rules.Ingress, rules.Egress} {
		for address := range pods {
			all[address] = true
		}
	}
	return all
}

func renderHook(tx *knftables.Transaction, name string, hook knftables.BaseChainHook, priority knftables.BaseChainPriority, judge string) {
	tx.Add(&knftables.Chain{
		Name:     name,
		Type:     knftables.PtrTo(knftables.FilterType),
		Hook:     knftables.PtrTo(hook),
		Priority: knftables.PtrTo(priority),
	})
	// Answers belong to what was allowed.
	tx.Add(&knftables.Rule{Chain: name, Rule: "ct state established,related accept"})
	tx.Add(&knftables.Rule{Chain: name, Rule: "ip saddr . ip daddr @" + selfSet + " accept"})
	tx.Add(&knftables.Rule{Chain: name, Rule: judge})
}
