package agent

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/frontdoor"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/activity"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// sleepEpoch asks the host how often a virtual cluster has fallen asleep. No cache will do: who puts it to sleep may be another
// replica.
func (a *agent) sleepEpoch(ctx context.Context, tenant tenants.Tenant) (int64, error) {
	var vc clusterv1alpha1.VirtualCluster
	if err := a.host.Get(ctx, client.ObjectKey{Namespace: tenant.Namespace, Name: tenant.Name}, &vc); err != nil {
		return 0, fmt.Errorf("get VirtualCluster %q: %w", tenant.Namespace+"/"+tenant.Name, err)
	}
	return vc.Status.Sleep.Epoch, nil
}

// followActivity makes connections at the front door wake virtual clusters and keep them awake.
func (a *agent) followActivity(server *frontdoor.Server) error {
	recorder := activity.New(a.host, a.log.With("part", "activity"), clock.RealClock{})
	if err := a.manager.Add(manager.RunnableFunc(recorder.Run)); err != nil {
		return fmt.Errorf("add the recorder of activity: %w", err)
	}
	server.Active = func(tenant tenants.Tenant) { recorder.Active(virtualCluster(tenant), idleTime(tenant)) }
	server.Wake = func(ctx context.Context, tenant tenants.Tenant) error {
		return recorder.Wake(ctx, virtualCluster(tenant))
	}
	return nil
}

func virtualCluster(tenant tenants.Tenant) activity.Object {
	return activity.Object{
		Kind: func() client.Object { return &clusterv1alpha1.VirtualCluster{} },
		Key:  client.ObjectKey{Namespace: tenant.Namespace, Name: tenant.Name}, UID: tenant.UID,
	}
}

func idleTime(tenant tenants.Tenant) time.Duration {
	if tenant.Spec.Sleep == nil || tenant.Spec.Sleep.AfterIdle == nil {
		return 0
	}
	return tenant.Spec.Sleep.AfterIdle.Duration
}

// spaceOf is the space that a virtual cluster is in, or nil.
func (a *agent) spaceOf(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*tenancyv1alpha1.Space, error) {
	var space tenancyv1alpha1.Space
	err := a.manager.GetClient().Get(ctx, client.ObjectKey{Name: vc.Namespace}, &space)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Space %q: %w", vc.Namespace, err)
	}
	if space.Status.NamespaceUID == "" {
		return nil, nil // the namespace is not its own
	}
	return &space, nil
}

// holdBySpace makes virtual clusters sleep whose space does.
func (a *agent) holdBySpace(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reason, message string, err error) {
	space, err := a.spaceOf(ctx, vc)
	if err != nil || space == nil || !space.Status.Sleep.IsAsleep() {
		return "", "", err
	}
	return tenancyv1alpha1.ReasonSpaceAsleep, fmt.Sprintf("The space %q sleeps", space.Name), nil
}

// isAccountSuspended tells whether nothing may be begun for a virtual cluster.
func (a *agent) isAccountSuspended(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (bool, error) {
	space, err := a.spaceOf(ctx, vc)
	if err != nil || space == nil {
		return false, err
	}
	var account tenancyv1alpha1.Account
	err = a.manager.GetClient().Get(ctx, client.ObjectKey{Name: space.Spec.Account}, &account)
	if apierrors.IsNotFound(err) {
		return true, nil // without its account nothing is begun for it either
	}
	if err != nil {
		return false, fmt.Errorf("get Account %q: %w", space.Spec.Account, err)
	}
	return account.Spec.Suspended, nil
}

// spacesThatSleep has the virtual clusters of a space looked at when it falls asleep or wakes.
func (a *agent) spacesThatSleep() source.Source {
	isChanged := predicate.TypedFuncs[*tenancyv1alpha1.Space]{UpdateFunc: func(e event.TypedUpdateEvent[*tenancyv1alpha1.Space]) bool {
		return e.ObjectOld.Status.Sleep.IsAsleep() != e.ObjectNew.Status.Sleep.IsAsleep()
	}}
	inSpace := handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, space *tenancyv1alpha1.Space) []reconcile.Request {
		var list clusterv1alpha1.VirtualClusterList
		if err := a.manager.GetClient().List(ctx, &list, client.InNamespace(space.Name)); err != nil {
			a.log.Error("Cannot list the virtual clusters of a space", "space", space.Name, "error", err)
			return nil
		}
		var requests []reconcile.Request
		for index := range list.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[index])})
		}
		return requests
	})
	return source.Kind(a.manager.GetCache(), &tenancyv1alpha1.Space{}, inSpace, isChanged)
}
