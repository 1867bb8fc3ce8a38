package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// FieldManager is the name under which the agent writes.
const FieldManager = "matryoshka-agent"

// callTimeout bounds every single call to an API server.
const callTimeout = 5 * time.Second

// Options of an Engine. The zero value of each field has a good default, but for Namespaces.
type Options struct {
	// Namespaces makes mapped namespaces. Required.
	Namespaces NamespaceEnsurer
	// Workers is the number of keys that are worked on at once. 0 means 64; the work is waiting for API servers. Keys that a
	// tenant's API server keeps waiting are not among them: they are bounded by WorkersPerTenant alone.
	Workers int
	// WorkersPerTenant is how many keys of one tenant are worked on at once. 0 means 16.
	WorkersPerTenant int
	// MaxCached is how many bytes the objects of one tenant may take in the agent's memory: once in its caches, and once more in
	// lists that no cache has yet. Answers that are being read and decoded may take three quarters of it. 0 means 512 MiB.
	MaxCached int64
	// MaxTogether is how many bytes the objects of all tenants may take, in caches and in lists that no cache has yet. 0 is no bound.
	MaxTogether int64
	// Writes is how much one tenant may make the engine write to the host.
	Writes WriteShare
	// Pace adapts how many calls to the host run at once. Nil means one with the defaults.
	Pace *hostpace.Pace
	// Shards tell which tenants are this replica's to serve. Nil means all of them.
	Shards shards.Shares
	// Usage counts what tenants keep on the host and bounds it. Nil means one without bounds.
	Usage *hostusage.Usage
	// Explain puts what the host said of an object that it refused in a namespace of its own into other words; ok is false where it has
	// none. Nil has none.
	Explain func(ctx context.Context, hostNamespace, message string) (explained string, ok bool)
	// Logger; nil means slog.Default().
	Logger *slog.Logger
	// Registerer of the metrics; nil means none are kept.
	Registerer prometheus.Registerer
}

// Engine keeps all tenants of a registry in step. Make one with New and run it once.
type Engine struct {
	registry *tenants.Registry
	kinds    []Kind
	kindByID map[string]int
	options  Options
	log      *slog.Logger
	metrics  *metrics
	queue    *queue
	spaces   *spaces

	own     *ownWrites
	workers sync.WaitGroup
	parked  atomic.Int64 // workers that do not count among Options.Workers at the moment

	hostCache  cache.Cache
	hostTypes  *hostTypes
	hostClient client.Client

	// remembered are the tenants that kinds may remember something of, and the terms that it is of; only the goroutine of follow uses
	// it.
	remembered map[types.UID]int64

	mu      sync.RWMutex
	running map[types.UID]*tenantRun // protected by mu
	// ending are those that are no longer served while something of them is still being done.
	ending map[types.UID]bool // protected by mu
	// tooLargeUntil are the tenants that are not served because of their size.
	tooLargeUntil map[types.UID]excess // protected by mu
	room          *room

	// again has an element when the registry has to be looked at without a change of it: tenants were gained or lost to other
	// replicas, or one is too large.
	again chan struct{}
}

// New makes an engine of these kinds. hostConfig reaches the host's API server as the agent.
func New(hostConfig *rest.Config, registry *tenants.Registry, kinds []Kind, options Options) (*Engine, error) {
	options = complete(options)
	e := &Engine{
		registry: registry, kinds: kinds, options: options, log: options.Logger, spaces: newSpaces(),
		kindByID: map[string]int{}, running: map[types.UID]*tenantRun{}, ending: map[types.UID]bool{},
		remembered: map[types.UID]int64{}, tooLargeUntil: map[types.UID]excess{}, room: newRoom(options.MaxTogether),
		again: make(chan struct{}, 1), own: newOwnWrites(time.Now),
	}
	for index, kind := range kinds {
		if _, ok := e.kindByID[kind.Name]; ok {
			return nil, fmt.Errorf("two kinds have the name %q", kind.Name)
		}
		e.kindByID[kind.Name] = index
	}
	e.queue = newQueue(options.WorkersPerTenant, func(kind int) Lane { return kinds[kind].Lane })
	e.hostTypes = newHostTypes(e, hostConfig)
	var err error
	if e.metrics, err = newMetrics(options.Registerer, gauges{
		depth: e.depth, tenants: e.tenantCount, blocked: e.blockedCount,
		resting:    func() float64 { return float64(e.queue.restingTenants()) },
		unanswered: func() float64 { return float64(e.queue.unansweredKeys()) }, parked: func() float64 { return float64(e.parked.Load()) },
		throttled: func() float64 { return float64(options.Pace.Throttled()) }, calls: func() float64 { return float64(options.Pace.Limit()) },
	}); err != nil {
		return nil, fmt.Errorf("register the metrics of the sync: %w", err)
	}
	if e.hostClient, err = newHostClient(hostConfig, options.Pace, options.Usage); err != nil {
		return nil, fmt.Errorf("make the client of the host: %w", err)
	}
	if e.hostCache, err = newHostCache(hostConfig, kinds); err != nil {
		return nil, fmt.Errorf("make the cache of the host: %w", err)
	}
	return e, nil
}

func complete(options Options) Options {
	if options.Workers == 0 {
		options.Workers = 64
	}
	if options.WorkersPerTenant == 0 {
		options.WorkersPerTenant = 16
	}
	if options.MaxCached == 0 {
		options.MaxCached = 512 << 20
	}
	options.Writes = options.Writes.complete()
	if options.Pace == nil {
		options.Pace = hostpace.New(hostpace.Options{})
	}
	if options.Shards == nil {
		options.Shards = shards.All()
	}
	if options.Usage == nil {
		options.Usage = hostusage.New(hostusage.Limits{})
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.Registerer == nil {
		options.Registerer = prometheus.NewRegistry()
	}
	return options
}

// newHostClient makes a client that has no fixed rate (it follows what the host's priority and fairness allows) and
// refuses fields that the host does not know: an older host would drop them in silence and run something weaker.
func newHostClient(config *rest.Config, pace *hostpace.Pace, usage *hostusage.Usage) (client.Client, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Timeout = -1, callTimeout
	config.Wrap(pace.Wrap)
	config.Wrap(observed(Host))
	direct, err := client.New(config, client.Options{Scheme: Scheme, Mapper: NewMapper()})
	if err != nil {
		return nil, err
	}
	strict := client.WithFieldOwner(client.WithFieldValidation(direct, metav1.FieldValidationStrict), FieldManager)
	return meteredClient{Client: strict, usage: usage}, nil
}

// HostClient is the engine's client of the host.
func (e *Engine) HostClient() client.Client { return e.hostClient }

// HostCache is the engine's cache of the host; it holds the types that the kinds' triggers name.
func (e *Engine) HostCache() cache.Cache { return e.hostCache }

// Synced tells whether a tenant is served: its objects are known and its keys are worked on.
func (e *Engine) Synced(uid types.UID) bool {
	run, ok := e.tenantRun(uid)
	return ok && run.synced.Load()
}

// AtRest tells whether nothing is done for a tenant, and nothing will be begun as long as the registry says that it sleeps.
func (e *Engine) AtRest(uid types.UID) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.running[uid] == nil && !e.ending[uid]
}

// Idle tells whether no key waits or is worked on now. Keys that come again later do not count.
func (e *Engine) Idle() bool { return e.queue.idle() }

// Wake looks at a key of a kind for every tenant that is served and that want is true for. It is for what changes without that
// an object changes which the kind's triggers name.
func (e *Engine) Wake(kind string, key Key, want func(tenants.Tenant) bool) {
	for _, run := range e.runsWhere(func(run *tenantRun) bool { return want(*run.tenant.Load()) }) {
		run.enqueue(kind, key)
	}
}

// Run serves the tenants of the registry until the context ends. It returns after everything that it started has stopped.
func (e *Engine) Run(ctx context.Context) error {
	parent := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := e.watchHost(ctx); err != nil {
		return fmt.Errorf("watch the host: %w", err)
	}
	var group sync.WaitGroup
	cacheFailed := make(chan error, 1)
	group.Go(func() { cacheFailed <- e.hostCache.Start(ctx) })
	defer group.Wait()
	defer stop()
	if !e.hostCache.WaitForCacheSync(ctx) {
		stop()
		err := <-cacheFailed
		if parent.Err() != nil {
			return nil
		}
		return fmt.Errorf("fill the cache of the host: %w", firstError(err, errCacheEnded))
	}
	for range e.options.Workers {
		e.workers.Go(func() { e.worker(ctx) })
	}
	defer e.workers.Wait()
	defer e.queue.close()
	defer e.stopAll()
	return e.follow(ctx, cacheFailed)
}

var errCacheEnded = errors.New("the cache ended")

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// follow takes tenants up and lets them go as the registry and the shards change.
func (e *Engine) follow(ctx context.Context, cacheFailed <-chan error) error {
	changes := e.registry.Changes()
	e.options.Shards.Follow(func(func(types.UID) bool) { e.rematch() })
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-cacheFailed:
			if ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop: that the cache ends too is part of it
			}
			return fmt.Errorf("watch the host: %w", err)
		case <-changes:
			e.matchRegistry(ctx)
		case <-e.again:
			e.matchRegistry(ctx)
		}
	}
}

func (e *Engine) depth() float64 { return float64(e.queue.depth()) }

func (e *Engine) blockedCount() float64 { return float64(e.queue.blockedTenants()) }

func (e *Engine) tenantCount() float64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return float64(len(e.running))
}

func (e *Engine) tenantRun(uid types.UID) (*tenantRun, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	run, ok := e.running[uid]
	return run, ok
}
