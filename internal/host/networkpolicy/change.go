package networkpolicy

import (
	"net/netip"
	"slices"

	"sigs.k8s.io/knftables"
)

// render brings the table from the rules of before, nil when they are not known, to others in one transaction. What stays
// the same is not sent: on a full host that is nearly everything.
func render(before *Ruleset, after Ruleset, tx *knftables.Transaction) {
	if before == nil || before.isEmpty() || after.isEmpty() {
		renderAll(after, tx)
		return
	}
	oldSets, newSets := byName(before.Sets, Set.name), byName(after.Sets, Set.name)
	oldChains, newChains := byName(before.Chains, Chain.name), byName(after.Chains, Chain.name)
	// A set is named by its content: one that is there is the same.
	for _, set := range after.Sets {
		if _, exists := oldSets[set.Name]; !exists {
			renderSet(tx, set)
		}
	}
	for _, chain := range after.Chains {
		if _, exists := oldChains[chain.Name]; !exists {
			tx.Add(&knftables.Chain{Name: chain.Name})
		}
	}
	for _, chain := range after.Chains {
		old, exists := oldChains[chain.Name]
		if exists && slices.Equal(old.Rules, chain.Rules) {
			continue
		}
		if exists {
			tx.Flush(&knftables.Chain{Name: chain.Name})
		}
		renderRules(tx, chain)
	}
	changeMap(tx, ingressMap, before.Ingress, after.Ingress)
	changeMap(tx, egressMap, before.Egress, after.Egress)
	changeSelf(tx, isolated(*before), isolated(after))
	// Last what nothing refers to any more: chains of pods, then the chains of policies that they jump to, then sets.
	for _, chain := range slices.Backward(before.Chains) {
		if _, stays := newChains[chain.Name]; !stays {
			tx.Flush(&knftables.Chain{Name: chain.Name})
			tx.Delete(&knftables.Chain{Name: chain.Name})
		}
	}
	for _, set := range before.Sets {
		if _, stays := newSets[set.Name]; !stays {
			tx.Delete(&knftables.Set{Name: set.Name})
		}
	}
}

func changeMap(tx *knftables.Transaction, name string, before, after map[netip.Addr]string) {
	for _, address := range sortedKeysBy(before, netip.Addr.Compare) {
		if after[address] != before[address] {
			tx.Delete(verdict(name, address, before[address]))
		}
	}
	for _, address := range sortedKeysBy(after, netip.Addr.Compare) {
		if after[address] != before[address] {
			tx.Add(verdict(name, address, after[address]))
		}
	}
}

func changeSelf(tx *knftables.Transaction, before, after map[netip.Addr]bool) {
	for _, address := range sortedKeysBy(before, netip.Addr.Compare) {
		if !after[address] {
			tx.Delete(self(address))
		}
	}
	for _, address := range sortedKeysBy(after, netip.Addr.Compare) {
		if !before[address] {
			tx.Add(self(address))
		}
	}
}

func byName[T any](all []T, name func(T) string) map[string]T {
	named := make(map[string]T, len(all))
	for _, one := range all {
		named[name(one)] = one
	}
	return named
}
