package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csidriver"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csinode"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csistoragecapacity"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/customresource"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/endpointslice"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/event"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostobject"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingress"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingressclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/namespace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/networkpolicy"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/node"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolume"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolumeclaim"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/pod"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/poddisruptionbudget"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/priorityclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/runtimeclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/service"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/storageclass"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/nodeusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// kinds are those that the sync keeps in step.
func (a *agent) kinds(ensurer *namespaces.Ensurer, ranges *hostranges.Source, custom *customresource.Source, shared *hostobject.Source, usage *nodeusage.Usage) []engine.Kind {
	secrets := pod.NewSecretCopier(ingress.SecretReferrer())
	pods := pod.NewKinds(pod.Options{
		DNSService:    types.NamespacedName{Namespace: a.config.Namespace, Name: a.config.DNSService},
		ClusterDomain: a.config.ClusterDomain,
		Secrets:       secrets,
		Labels:        networkpolicy.PodLabels,
		Epoch:         a.sleepEpoch,
	})
	return slices.Concat(pods, custom.Kinds(), shared.Kinds(), []engine.Kind{
		csidriver.New(),
		csinode.New(),
		csistoragecapacity.New(),
		endpointslice.New(ranges),
		event.New(),
		ingress.New(ingress.Options{Secrets: secrets, Annotations: a.config.IngressAnnotations}),
		ingressclass.New(),
		namespace.New(ensurer, ranges),
		networkpolicy.New(networkpolicy.Options{SystemNamespace: a.config.Namespace, Ranges: ranges}),
		node.New(usage),
		persistentvolume.New(),
		persistentvolumeclaim.New(),
		poddisruptionbudget.New(),
		priorityclass.New(),
		runtimeclass.New(),
		service.New(time.Now),
		storageclass.New(),
	})
}

// pacedHost is a client that keeps the pace of the sync: its workers make namespaces by it.
func (a *agent) pacedHost(pace *hostpace.Pace) (client.Client, error) {
	config := rest.CopyConfig(a.config.Host)
	config.Wrap(pace.Wrap)
	paced, err := client.New(config, client.Options{Scheme: a.manager.GetScheme(), Mapper: a.manager.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("make the sync's client of the host: %w", err)
	}
	return paced, nil
}

// addSync adds the lifecycle controller and the sync engine, which the lifecycle asks whether a tenant is served.
func (a *agent) addSync() error {
	ranges := hostranges.NewSource(a.host, time.Now)
	pace := hostpace.New(hostpace.Options{})
	paced, err := a.pacedHost(pace)
	if err != nil {
		return err
	}
	a.namespaces = namespaces.New(client.WithFieldOwner(paced, engine.FieldManager), namespaces.Options{
		SystemNamespace: a.config.Namespace, Ranges: ranges, MaxNamespaces: a.config.Limits.Namespaces,
		InPlace: a.quotas.InPlace,
	})
	custom := customresource.New(customresource.Options{})
	usage := nodeusage.New(a.config.Host, 0)
	shared := hostobject.New(hostobject.Options{SystemNamespace: a.config.Namespace})
	sync, err := engine.New(rest.CopyConfig(a.config.Host), a.registry, a.kinds(a.namespaces, ranges, custom, shared, usage), engine.Options{
		Namespaces:  a.namespaces,
		Pace:        pace,
		Shards:      a.shards,
		Usage:       hostusage.New(a.config.Limits),
		Explain:     a.quotas.Explain,
		MaxTogether: a.config.Memory / 2, // the other half is for what is being read, for the host's objects and for garbage
		Logger:      a.log.With("part", "sync"),
		Registerer:  metrics.Registry,
	})
	if err != nil {
		return fmt.Errorf("make the sync engine: %w", err)
	}
	ranges.Follow(sync.HostCache())
	if err := a.manager.Add(manager.RunnableFunc(sync.Run)); err != nil {
		return fmt.Errorf("add the sync engine: %w", err)
	}
	changed := func(name string) { sync.Wake(node.Name, engine.Key{Name: name}, node.SchedulesItself) }
	count := func(ctx context.Context) error { return usage.Run(ctx, changed) }
	if err := a.manager.Add(manager.RunnableFunc(count)); err != nil {
		return fmt.Errorf("add the count of what nodes are used for: %w", err)
	}
	synced := func(tenant tenants.Tenant) (ok bool, problem string) {
		return sync.Synced(tenant.UID), sync.Problem(tenant.UID)
	}
	lifecycle := a.lifecycleOptions(synced, custom.Problem, shared.Problem)
	lifecycle.AtRest = sync.AtRest
	lifecycle.Hold, lifecycle.Suspended = a.holdBySpace, a.isAccountSuspended
	lifecycle.Triggers = []source.Source{a.spacesThatSleep()}
	if err := virtualcluster.SetupWithManager(a.manager, lifecycle, a.log.With("part", "lifecycle")); err != nil {
		return fmt.Errorf("set up the lifecycle of virtual clusters: %w", err)
	}
	return a.runShards(sync.HostCache())
}
