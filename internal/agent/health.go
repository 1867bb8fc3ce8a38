package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// addHealth makes /readyz answer when the doors know the tenants: before that they would tell them that they do not exist.
func (a *agent) addHealth() error {
	if err := a.manager.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add /healthz: %w", err)
	}
	var filled flag
	err := a.manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if a.manager.GetCache().WaitForCacheSync(ctx) {
			a.awaitTenants(ctx)
			filled.set()
		}
		<-ctx.Done()
		return nil
	}))
	if err != nil {
		return fmt.Errorf("watch the caches: %w", err)
	}
	err = a.manager.AddReadyzCheck("caches", func(*http.Request) error { return filled.check() })
	if err != nil {
		return fmt.Errorf("add /readyz: %w", err)
	}
	return nil
}

const (
	// tenantsTake is how long a replica may be kept from serving by tenants that it does not get to know: one whose Secret
	// is broken must not keep the others waiting.
	tenantsTake = 10 * time.Second
	tenantsTry  = 50 * time.Millisecond
)

// awaitTenants waits until the registry holds the tenants that there are.
func (a *agent) awaitTenants(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tenantsTake)
	defer cancel()
	tick := time.NewTicker(tenantsTry)
	defer tick.Stop()
	for {
		knowsAll, err := virtualcluster.KnowsAll(ctx, a.manager.GetClient(), a.registry)
		if knowsAll {
			return
		}
		select {
		case <-ctx.Done():
			a.log.Warn("Serving without some of the tenants; their Secrets or Services cannot be read", "error", err)
			return
		case <-tick.C:
		}
	}
}
