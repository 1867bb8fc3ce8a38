package agent

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/account"
	tenancymetrics "github.com/matryoshka-dev/matryoshka/internal/tenancy/metrics"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rulekeeper"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/sleep/spaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/space"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template"
)

// addTenancy adds the controllers of accounts and of what belongs to them. Each looks after what is in this replica's shards.
func (a *agent) addTenancy() error {
	err := account.SetupWithManager(a.manager, account.Options{
		SystemNamespace: a.config.Namespace, Host: a.host, Shards: a.shards, Logger: a.log.With("part", "account"),
	})
	if err != nil {
		return fmt.Errorf("set up accounts: %w", err)
	}
	err = space.SetupWithManager(a.manager, space.Options{
		SystemNamespace: a.config.Namespace, Host: a.host, Shards: a.shards, Logger: a.log.With("part", "space"),
		InPlace: a.quotas.InPlace,
	})
	if err != nil {
		return fmt.Errorf("set up spaces: %w", err)
	}
	err = template.SetupWithManager(a.manager, template.Options{
		SystemNamespace: a.config.Namespace, Config: a.config.Host, Host: a.host, Shards: a.shards, Logger: a.log.With("part", "template"),
	})
	if err != nil {
		return fmt.Errorf("set up templates: %w", err)
	}
	err = spaces.SetupWithManager(a.manager, spaces.Options{Host: a.host, Shards: a.shards, Logger: a.log.With("part", "sleep")})
	if err != nil {
		return fmt.Errorf("set up the sleep of spaces: %w", err)
	}
	err = tenancymetrics.Register(tenancymetrics.Options{Cached: a.manager.GetClient(), Shards: a.shards, Registerer: metrics.Registry})
	if err != nil {
		return fmt.Errorf("add the metrics of accounts: %w", err)
	}
	err = rulekeeper.SetupWithManager(a.manager, rulekeeper.Options{Host: a.host, Shards: a.shards, Logger: a.log.With("part", "rules")})
	if err != nil {
		return fmt.Errorf("set up the rules of accounts: %w", err)
	}
	return nil
}
