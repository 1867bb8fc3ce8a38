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
)

// The judgement of the sender's pod comes before that of the receiver's, each in a chain of its own: an accept ends one
// chain only, so both must agree.
const (
	egressPriority  = knftables.FilterPriority + "-10"
	ingressPriority = knftables.FilterPriority + "-5"
)

// render replaces the whole table. Without isolated pods there is no table, and no packet is looked at.
func render(rules Ruleset, tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if len(rules.Ingress) == 0 && len(rules.Egress) == 0 {
		return
	}
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("NetworkPolicies of the embedded host")})
	for _, set := range rules.Sets {
		tx.Add(&knftables.Set{Name: set.Name, Type: set.Type})
		for _, element := range set.Elements {
			tx.Add(&knftables.Element{Set: set.Name, Key: element})
		}
	}
	for _, chain := range rules.Chains {
		tx.Add(&knftables.Chain{Name: chain.Name})
	}
	for _, chain := range rules.Chains {
		for _, rule := range chain.Rules {
			tx.Add(&knftables.Rule{Chain: chain.Name, Rule: rule})
		}
	}
	renderMap(tx, ingressMap, rules.Ingress)
	renderMap(tx, egressMap, rules.Egress)
	renderSelf(tx, rules)
	renderHook(tx, "egress", knftables.ForwardHook, egressPriority, "ip saddr vmap @"+egressMap)
	// What is for the node itself is not forwarded: DNS and the API server live there.
	renderHook(tx, "egress-to-node", knftables.InputHook, egressPriority, "ip saddr vmap @"+egressMap)
	renderHook(tx, "ingress", knftables.ForwardHook, ingressPriority, "ip daddr vmap @"+ingressMap)
}

func renderMap(tx *knftables.Transaction, name string, pods map[netip.Addr]string) {
	tx.Add(&knftables.Map{Name: name, Type: "ipv4_addr : verdict"})
	for _, address := range sortedAddresses(pods) {
		tx.Add(&knftables.Element{Map: name, Key: []string{address.String()}, Value: []string{"goto " + pods[address]}})
	}
}

// renderSelf lets a pod reach itself through a Service, whatever the policies say.
func renderSelf(tx *knftables.Transaction, rules Ruleset) {
	tx.Add(&knftables.Set{Name: selfSet, Type: "ipv4_addr . ipv4_addr"})
	all := map[netip.Addr]string{}
	for _, pods := range []map[netip.Addr]string{rules.Ingress, rules.Egress} {
		for address := range pods {
			all[address] = ""
		}
	}
	for _, address := range sortedAddresses(all) {
		tx.Add(&knftables.Element{Set: selfSet, Key: []string{address.String(), address.String()}})
	}
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

func sortedAddresses(pods map[netip.Addr]string) []netip.Addr {
	byText := map[string]netip.Addr{}
	for address := range pods {
		byText[address.String()] = address
	}
	addresses := make([]netip.Addr, 0, len(pods))
	for _, text := range sortedKeys(byText) {
		addresses = append(addresses, byText[text])
	}
	return addresses
}
