package agent

import (
	"context"
	"fmt"
	"net"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/frontdoor"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

func (a *agent) addFrontDoor(ctx context.Context) error {
	counts, err := a.doorMetrics()
	if err != nil {
		return err
	}
	server := &frontdoor.Server{Registry: a.registry, Log: a.log.With("part", "frontdoor"), Metrics: counts.Door(doormetrics.Front)}
	if err := a.followActivity(server); err != nil {
		return err
	}
	server.Closed = a.isClosed
	return a.listen(ctx, "front door", a.config.FrontDoorListen, server.Serve)
}

// isClosed tells whether the account of a virtual cluster is suspended: its kubeconfigs are certificates of the virtual cluster's own,
// so that only the door can keep their owners out. What runs in it goes on. Everything asked for is watched.
func (a *agent) isClosed(ctx context.Context, tenant tenants.Tenant) bool {
	vc := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{Namespace: tenant.Namespace, Name: tenant.Name}}
	isSuspended, err := a.isAccountSuspended(ctx, vc)
	if err != nil && ctx.Err() == nil {
		a.log.Error("Cannot tell whether the account of a virtual cluster is suspended", "vcluster", tenant.Namespace+"/"+tenant.Name, "error", err)
	}
	return isSuspended
}

// doorMetrics are made once for all doors.
func (a *agent) doorMetrics() (*doormetrics.Set, error) {
	if a.doors != nil {
		return a.doors, nil
	}
	doors, err := doormetrics.New(metrics.Registry)
	a.doors = doors
	return doors, err
}

// listen opens a port at once, so that a port in use ends the agent with a clear error, and serves it whatever shards this
// replica holds.
func (a *agent) listen(ctx context.Context, name, address string, serve func(context.Context, net.Listener) error) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("open the %s: %w", name, err)
	}
	err = a.manager.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if err := serve(ctx, listener); err != nil {
			return fmt.Errorf("serve the %s: %w", name, err)
		}
		return nil
	}))
	if err != nil {
		return fmt.Errorf("add the %s: %w", name, err)
	}
	return nil
}
