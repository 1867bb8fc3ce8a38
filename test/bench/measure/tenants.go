package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
)

// atOnce is how many virtual clusters are made at the same time where that is not what is measured.
const atOnce = 3

// removeTimeout is for one thing that was made; each further one may take removeEach more.
const (
	removeTimeout = 5 * time.Minute
	removeEach    = 10 * time.Second
)

// tenants makes virtual clusters name-from to name-(to-1). What was made is returned with an error, too, for remove.
func (b *Bench) tenants(ctx context.Context, name string, from, to int) ([]*lab.Tenant, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	var mu sync.Mutex
	var made []*lab.Tenant
	for i := from; i < to; i++ {
		group.Go(func() error {
			tenant, err := b.Host.Create(ctx, fmt.Sprintf("%s-%d", name, i), b.Options.Store)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, tenant)
			return nil
		})
	}
	err := group.Wait()
	return made, err
}

// withTenant gives a step a virtual cluster of its own.
func (b *Bench) withTenant(ctx context.Context, name string, measure func(context.Context, *lab.Tenant) error) error {
	tenant, err := b.Host.Create(ctx, name, b.Options.Store)
	if err != nil {
		return err
	}
	return errors.Join(measure(ctx, tenant), b.remove(tenant))
}

// remove deletes virtual clusters. It takes no context: what a step has made goes also when its time is over.
func (b *Bench) remove(tenants ...*lab.Tenant) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout+time.Duration(len(tenants))*removeEach)
	defer cancel()
	return b.Host.Delete(ctx, tenants...)
}

func (b *Bench) agent(ctx context.Context) (machine.Process, error) {
	pod, err := b.Host.Agent(ctx)
	if err != nil {
		return machine.Process{}, err
	}
	return machine.OfPod(string(pod.UID), "agent")
}

func (b *Bench) controlPlane(ctx context.Context, tenant *lab.Tenant) (machine.Process, error) {
	pod, err := b.Host.ControlPlane(ctx, tenant.ID)
	if err != nil {
		return machine.Process{}, err
	}
	return machine.OfPod(string(pod.UID), "controlplane")
}
