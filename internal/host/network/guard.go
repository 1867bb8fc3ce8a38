package network

import (
	"context"
	"fmt"

	"sigs.k8s.io/knftables"
)

// guardTable is in the host's network namespace, for as long as that is there.
const guardTable = "matryoshka-guard"

// guard keeps loopback addresses to the node itself. What listens there, such as the forwarder of image pulls, trusts whoever
// reaches it; a pod that may send raw packets could, since the CNI plugin for host ports opens the way for some links.
func guard(ctx context.Context) error {
	nft, err := knftables.New(knftables.IPv4Family, guardTable)
	if err != nil {
		return fmt.Errorf("use nftables: %w; the kernel needs CONFIG_NF_TABLES (`modprobe nf_tables`)", err)
	}
	const chain = "prerouting"
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{})
	tx.Add(&knftables.Chain{
		Name: chain, Type: knftables.PtrTo(knftables.FilterType),
		Hook: knftables.PtrTo(knftables.PreroutingHook), Priority: knftables.PtrTo(knftables.RawPriority),
	})
	for _, field := range []string{"ip saddr", "ip daddr"} {
		tx.Add(&knftables.Rule{Chain: chain, Rule: "iifname != lo " + field + " 127.0.0.0/8 drop"})
	}
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("keep pods from loopback addresses: %w", err)
	}
	return nil
}
