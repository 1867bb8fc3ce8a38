package controlplane

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"
	apiregistrationclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/bootstrap"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/controllers"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/scheduler"
)

// startWork starts what uses the API server: the seeding of the system objects, the controllers, the scheduler. They
// run side by side; controllers find what is seeded by their watches.
func (c *ControlPlane) startWork(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.server.clientConfig())
	if err != nil {
		return fmt.Errorf("create the loopback client: %w", err)
	}
	apiServices, err := apiregistrationclient.NewForConfig(c.server.clientConfig())
	if err != nil {
		return fmt.Errorf("create the loopback client of APIServices: %w", err)
	}
	workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancelWork = cancel
	c.work.Go(func() {
		err := bootstrap.Ensure(workCtx, client)
		if err == nil && c.door != nil {
			err = bootstrap.EnsureMetricsAPI(workCtx, apiServices.APIServices())
		}
		if err != nil {
			if workCtx.Err() == nil {
				c.fail(fmt.Errorf("write the system objects: %w", err))
			}
			return
		}
		c.ready.started(partBootstrap)
	})
	c.work.Go(func() {
		err := controllers.Run(workCtx, controllers.Config{
			Client:       c.server.clientConfig(),
			PKIDirectory: c.config.PKIDirectory,
			Started:      func() { c.ready.started(partControllers) },
		})
		if err != nil {
			c.fail(fmt.Errorf("run the controllers: %w", err))
		}
	})
	c.work.Go(func() {
		bootstrap.FlowControl(workCtx, client, c.server.informers, func() { c.ready.started(partFlowControl) })
	})
	c.work.Go(func() {
		if c.server.awaitHooks(workCtx, client) {
			c.ready.started(partHooks)
		}
	})
	if c.config.Scheduler {
		c.work.Go(func() {
			started := func() { c.ready.started(partScheduler) }
			if err := scheduler.Run(workCtx, scheduler.Config{Client: c.server.clientConfig(), Started: started}); err != nil {
				c.fail(fmt.Errorf("run the scheduler: %w", err))
			}
		})
	}
	return nil
}
