package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/networkisolation"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/quota"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/version"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// agent is what the parts share.
type agent struct {
	config   *Config
	log      *slog.Logger
	manager  manager.Manager
	host     client.Client
	registry *tenants.Registry
	shards   *shards.Shards
	door     *pki.Authority
	// quotas keeps the quotas of accounts.
	quotas *quota.Controller
	// namespaces makes mapped namespaces; addSync sets it.
	namespaces *namespaces.Ensurer
	// isolation finds out whether the host enforces NetworkPolicies.
	isolation *networkisolation.Prober
	// doors counts for all doors; see doorMetrics.
	doors *doormetrics.Set
}

// Run runs the agent until the context ends.
func Run(ctx context.Context, config *Config) error {
	log := setUpLogging(config.Level)
	log.Info("Starting the agent", "version", version.Version, "namespace", config.Namespace, "image", config.Image, "replica", config.Replica)
	if config.Memory > 0 {
		debug.SetMemoryLimit(config.Memory / 10 * 9) // what is not Go's own needs some, too
	}
	a, err := compose(ctx, config, log)
	if err != nil {
		return err
	}
	if err := a.manager.Start(ctx); err != nil {
		return fmt.Errorf("run the agent: %w", err)
	}
	return nil
}

// setUpLogging leads everybody's log into one.
func setUpLogging(level slog.Level) *slog.Logger {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)
	return log
}

// compose makes every part and hangs it into the manager.
func compose(ctx context.Context, config *Config, log *slog.Logger) (*agent, error) {
	a := &agent{config: config, log: log, registry: tenants.NewRegistry()}
	var err error
	if a.manager, err = newManager(ctx, config); err != nil {
		return nil, err
	}
	if a.host, err = virtualcluster.NewHostClient(a.manager); err != nil {
		return nil, fmt.Errorf("make a client of the host: %w", err)
	}
	if a.door, err = virtualcluster.LoadDoorAuthority(ctx, a.host, config.Namespace, time.Now()); err != nil {
		return nil, err
	}
	if err := a.addParts(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *agent) addParts(ctx context.Context) error {
	if err := a.makeShards(); err != nil {
		return err
	}
	if err := a.addIsolation(); err != nil {
		return err
	}
	if err := a.makeQuotas(); err != nil {
		return err
	}
	if err := a.addSync(); err != nil {
		return err
	}
	if err := a.addTenancy(); err != nil {
		return err
	}
	if err := a.addQuotas(ctx); err != nil {
		return err
	}
	if err := a.addDoors(ctx); err != nil {
		return err
	}
	if err := a.addFrontDoor(ctx); err != nil {
		return err
	}
	return a.addHealth()
}

func newManager(ctx context.Context, config *Config) (manager.Manager, error) {
	scheme, err := virtualcluster.NewScheme()
	if err != nil {
		return nil, err
	}
	if err := tenancy.AddToScheme(scheme); err != nil {
		return nil, err
	}
	cacheOptions, err := virtualcluster.CacheOptions()
	if err != nil {
		return nil, err
	}
	if err := tenancy.AddToCache(&cacheOptions, config.Namespace); err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config.Host, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   cacheOptions,
		Metrics:                 metricsserver.Options{BindAddress: config.MetricsListen},
		HealthProbeBindAddress:  config.HealthListen,
		GracefulShutdownTimeout: ptr.To(20 * time.Second),
		BaseContext:             func() context.Context { return ctx },
	})
	if err != nil {
		return nil, fmt.Errorf("make the manager of the controllers: %w", err)
	}
	return mgr, nil
}

func (a *agent) lifecycleOptions(synced func(tenants.Tenant) (ok bool, problem string), customResources, hostObjects func(tenants.Tenant) (reason, message string)) virtualcluster.Options {
	places := virtualcluster.NewPlaces(a.host, a.manager.GetClient(), a.config.Namespace)
	return virtualcluster.Options{
		SystemNamespace:  a.config.Namespace,
		Image:            a.config.Image,
		FrontDoorAddress: a.config.FrontDoorAddress,
		DNSService:       a.config.DNSService,
		ClusterDomain:    a.config.ClusterDomain,
		InPlace:          a.quotas.InPlace,
		Places:           places,
		Suspended:        places.Suspended,
		Door:             a.door,
		Registry:         a.registry,
		Shards:           a.shards,
		Replica:          a.config.Replica,
		Synced:           synced,
		CustomResources:  customResources,
		HostObjects:      hostObjects,
		NetworkIsolation: a.networkIsolation,
		Clock:            clock.RealClock{},
	}
}
