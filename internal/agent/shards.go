package agent

import (
	"context"
	"fmt"
	"net"
	"time"

	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// makeShards makes this replica's part of the shards, which those ask who change the host.
func (a *agent) makeShards() error {
	config := rest.CopyConfig(a.config.Host)
	// With a way of dialing of its own comes a connection of its own: the Lease is not renewed behind the sync's lists.
	config.Dial = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	client, err := typedcoordinationv1.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client of Leases: %w", err)
	}
	a.shards, err = shards.New(shards.Options{
		Client: client.Leases(a.config.Namespace), Name: a.config.Replica,
		Logger: a.log.With("part", "shards"), Registerer: metrics.Registry,
	})
	return err
}

// runShards adds the part that takes shards, as soon as this replica can serve some.
func (a *agent) runShards(hostCache cache.Cache) error {
	err := a.manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if !a.manager.GetCache().WaitForCacheSync(ctx) || !hostCache.WaitForCacheSync(ctx) {
			return nil
		}
		if err := a.shards.Run(ctx); err != nil {
			return fmt.Errorf("share the virtual clusters with other replicas: %w", err)
		}
		return nil
	}))
	if err != nil {
		return fmt.Errorf("add the shards: %w", err)
	}
	return nil
}
