package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// tenantRun is a tenant that is served. Its goroutine owns the caches; matchRegistry owns it.
type tenantRun struct {
	engine *Engine
	uid    types.UID
	tenant atomic.Pointer[tenants.Tenant]
	synced atomic.Bool
	// downSince is when the tenant ceased to be ready; only matchRegistry's goroutine uses it.
	downSince time.Time

	cache       cache.Cache
	client      client.Client
	recorder    record.EventRecorder
	broadcaster record.EventBroadcaster

	share     *share
	footprint *footprint
	writes    *writeMeter

	// term is the time of the tenant with this replica; what is remembered of it holds for no other.
	term    int64
	turn    atomic.Pointer[turn]
	holding sync.Mutex
	// living ends when the tenant is let go.
	living context.Context
	stop   context.CancelFunc
	group  sync.WaitGroup

	// watchConfig and callConfig reach the tenant for caches and for calls, callHTTP with the breaker.
	watchConfig *rest.Config
	callConfig  *rest.Config
	callHTTP    *http.Client
	typesMu     sync.RWMutex
	types       map[string]*followed // protected by typesMu; by name
	ended       bool                 // protected by typesMu: nothing new is followed
}

// matchRegistry starts, updates and stops tenants so that those run that the registry says.
func (e *Engine) matchRegistry(ctx context.Context) {
	wanted := map[types.UID]tenants.Tenant{}
	for _, tenant := range e.registry.List() {
		if !tenant.Terminating && !tenant.Asleep && !tenant.Spec.Paused && tenant.VirtualConfig != nil && !e.isTooLarge(tenant.UID) {
			wanted[tenant.UID] = tenant
		}
	}
	for _, run := range e.runsWhere(func(*tenantRun) bool { return true }) {
		tenant, ok := wanted[run.uid]
		switch {
		case run.serving().Err() != nil && !e.takeTurn(run): // another replica's by now, which writes what kinds remember
			e.stopRun(run)
			e.forget(run.uid)
		case !ok:
			e.stopRun(run)
		case run.tenant.Load().SleepEpoch != tenant.SleepEpoch: // it has slept meanwhile: what is remembered of its pods is gone
			e.stopRun(run)
			e.forget(run.uid)
		case run.tenant.Load().VirtualConfig != tenant.VirtualConfig, run.isBack(tenant):
			e.stopRun(run) // and started below
		default:
			delete(wanted, run.uid)
			run.update(tenant)
		}
	}
	e.forgetGone()
	for _, tenant := range wanted {
		// A tenant that has never answered is not asked: its caches would only repeat failing requests.
		if !tenant.Ready {
			continue
		}
		if err := e.startRun(ctx, tenant); err != nil {
			e.log.Error("Cannot serve virtual cluster", "vcluster", tenant.Namespace+"/"+tenant.Name, "error", err)
		}
	}
}

// longDown is how long an API server may be away before its watches have backed off so far that it is quicker to begin
// anew than to wait for them.
const longDown = 2 * time.Second

// isBack notes when a tenant is not ready and tells whether it is again after a long time.
func (r *tenantRun) isBack(tenant tenants.Tenant) bool {
	if !tenant.Ready {
		if r.downSince.IsZero() {
			r.downSince = time.Now()
		}
		return false
	}
	wasLong := !r.downSince.IsZero() && time.Since(r.downSince) > longDown
	r.downSince = time.Time{}
	return wasLong
}

func (e *Engine) stopAll() {
	for _, run := range e.runsWhere(func(*tenantRun) bool { return true }) {
		e.stopRun(run)
	}
}

// startRun serves a tenant, if it is this replica's.
func (e *Engine) startRun(ctx context.Context, tenant tenants.Tenant) error {
	run := &tenantRun{engine: e, uid: tenant.UID, types: map[string]*followed{}}
	run.living, run.stop = context.WithCancel(ctx)
	work, leave, ok := e.options.Shards.Enter(run.living, tenant.UID)
	if !ok {
		run.stop()
		e.forget(tenant.UID)
		return nil
	}
	run.term = e.options.Shards.Term(tenant.UID)
	run.turn.Store(&turn{serving: work, leave: leave})
	run.share = e.room.enter(func() { e.tooLarge(run.uid, e.ofAll()) })
	run.footprint = newFootprint(e.options.MaxCached, run.share, func() { e.tooLarge(run.uid, e.ofOne()) })
	run.writes = newWriteMeter(e.options.Writes, e.options.Pace.Share, time.Now, run.rest)
	run.tenant.Store(&tenant)
	if err := run.connect(tenant.VirtualConfig); err != nil {
		run.stop()
		run.share.end()
		leave()
		return err
	}
	e.queue.open(run.uid)
	e.queue.weigh(run.uid, tenant.Account.Weight())
	if err := run.watch(run.living); err != nil {
		run.stop()
		e.queue.drop(run.uid)
		run.broadcaster.Shutdown()
		run.share.end()
		leave()
		return err
	}
	e.log.Info("Serving virtual cluster", "vcluster", run.name())
	// What is remembered of its namespaces may be of a time when another replica served it.
	e.options.Namespaces.ForgetTenant(run.uid)
	if e.remembered[run.uid] != run.term {
		// Others have had it meanwhile.
		e.forget(run.uid)
		e.options.Usage.Forget(func(uid types.UID) bool { return uid == run.uid }, unwatchedKinds...)
	}
	e.remembered[run.uid] = run.term
	e.mu.Lock()
	e.running[run.uid] = run
	e.mu.Unlock()
	if known, ok := e.registry.ByUID(run.uid); !ok || known.Asleep || known.SleepEpoch != tenant.SleepEpoch {
		e.stopRun(run) // it has just been put to sleep by one who may have seen that nothing ran
		return nil
	}
	context.AfterFunc(work, e.rematch)
	run.group.Go(func() {
		if err := run.cache.Start(run.living); err != nil && run.living.Err() == nil {
			e.log.Error("Virtual cluster's cache ended", "vcluster", tenant.Namespace+"/"+tenant.Name, "error", err)
		}
	})
	run.group.Go(func() { run.begin(run.living) })
	return nil
}

// stopRun ends serving a tenant: no more keys, then no more caches.
func (e *Engine) stopRun(run *tenantRun) {
	e.mu.Lock()
	delete(e.running, run.uid)
	e.ending[run.uid] = true
	e.mu.Unlock()
	run.stop()
	e.queue.drop(run.uid)
	run.endTypes()
	run.group.Wait()
	run.broadcaster.Shutdown()
	run.share.end()
	run.turn.Load().leave()
	e.mu.Lock()
	delete(e.ending, run.uid)
	e.mu.Unlock()
	e.log.Info("Stopped serving virtual cluster", "vcluster", run.name())
}

// forgetGone makes the kinds forget tenants that are no longer in the registry. One that is only begun anew is kept in mind.
func (e *Engine) forgetGone() {
	for uid := range e.remembered {
		if _, isServed := e.tenantRun(uid); isServed {
			continue
		}
		if tenant, ok := e.registry.ByUID(uid); ok && !tenant.Terminating && !tenant.Asleep && !tenant.Spec.Paused {
			continue
		}
		e.forget(uid)
	}
}

// forget makes the engine and the kinds forget a tenant.
func (e *Engine) forget(uid types.UID) {
	if _, ok := e.remembered[uid]; !ok {
		return
	}
	delete(e.remembered, uid)
	e.mu.Lock()
	delete(e.tooLargeUntil, uid)
	e.mu.Unlock()
	for _, kind := range e.kinds {
		if kind.Stopped != nil {
			kind.Stopped(uid)
		}
	}
}

// connect makes the tenant's clients and cache. They share one connection.
func (r *tenantRun) connect(config *rest.Config) error {
	config = rest.CopyConfig(config)
	config.QPS, config.Timeout = -1, 0
	config.WarningHandler = rest.NoWarnings{} // a tenant must not fill the log
	config.Wrap(newIntake(max(r.engine.options.MaxCached/4*3, minIntake)).wrap)
	var err error
	r.cache, err = cache.New(config, cache.Options{
		Scheme: Scheme, Mapper: NewMapper(), DefaultTransform: cache.TransformStripManagedFields(), ReaderFailOnMissingInformer: true,
		NewInformer: r.footprint.newInformer,
	})
	if err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	r.watchConfig = config
	config = rest.CopyConfig(config)
	config.Timeout = callTimeout
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &breaker{
			next:      next,
			block:     r.block,
			recovered: func() { r.engine.queue.recovered(r.uid) },
			slower:    func(began time.Time) { r.engine.queue.slower(r.uid, began) },
			faster:    func() bool { return r.engine.queue.faster(r.uid) },
		}
	})
	config.Wrap(observed(Virtual))
	r.callConfig = config
	if r.callHTTP, err = rest.HTTPClientFor(config); err != nil {
		return fmt.Errorf("make the connection: %w", err)
	}
	direct, err := client.New(config, client.Options{HTTPClient: r.callHTTP, Scheme: Scheme, Mapper: NewMapper()})
	if err != nil {
		return fmt.Errorf("make the client: %w", err)
	}
	r.client = client.WithFieldOwner(direct, FieldManager)
	events, err := typedcorev1.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make the client of events: %w", err)
	}
	r.broadcaster = record.NewBroadcaster()
	r.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: events.Events("")})
	r.recorder = r.broadcaster.NewRecorder(Scheme, corev1.EventSource{Component: FieldManager})
	return nil
}

// block is called by the breaker.
func (r *tenantRun) block(pause time.Duration) bool {
	isNew := r.engine.queue.block(r.uid, pause)
	if isNew {
		r.engine.metrics.breakers.Inc()
	}
	return isNew
}

// rest is called when the tenant has made the agent write more than its share.
func (r *tenantRun) rest(pause time.Duration) {
	if r.engine.queue.rest(r.uid, pause) {
		r.engine.metrics.rests.Inc()
	}
}

// watch adds the handlers of all kinds to the tenant's cache, before it starts.
func (r *tenantRun) watch(ctx context.Context) error {
	counted := map[schema.GroupVersionKind]bool{}
	for index, kind := range r.engine.kinds {
		if err := addIndexes(ctx, r.engine.log, r.cache, kind, Virtual); err != nil {
			return err
		}
		for _, trigger := range kind.Triggers {
			if trigger.Side != Virtual {
				continue
			}
			handle := func(seen notice) { r.engine.enqueueFrom(r, index, trigger, seen.object, seen.cause(Virtual)) }
			if err := addHandler(ctx, r.engine.log, r.cache, trigger, handle); err != nil {
				return fmt.Errorf("kind %q: %w", kind.Name, err)
			}
			// What is watched whole and by its metadata is in two caches, of which one is counted: no kind does that.
			if gvk := gvkOf(trigger.Object); !counted[gvk] {
				counted[gvk] = true
				if _, err := r.footprint.watch(ctx, r.cache, trigger.Object); err != nil {
					return fmt.Errorf("kind %q: %w", kind.Name, err)
				}
			}
		}
	}
	return nil
}

// begin waits until the tenant's objects are known, queues what the host has of it, and lets its keys go.
func (r *tenantRun) begin(ctx context.Context) {
	if !r.cache.WaitForCacheSync(ctx) {
		return
	}
	r.sweepHost(ctx)
	r.synced.Store(true)
	r.sweepAsked()
	r.holdQueue()
	r.sweepKinds(ctx)
}

// update takes a new description of the tenant.
func (r *tenantRun) update(tenant tenants.Tenant) {
	before := r.tenant.Swap(&tenant)
	r.engine.queue.weigh(r.uid, tenant.Account.Weight())
	r.holdQueue()
	if before.ServiceAddress != tenant.ServiceAddress || !reflect.DeepEqual(before.Spec, tenant.Spec) ||
		!before.Account.Equal(tenant.Account) || !bytes.Equal(before.RootCA, tenant.RootCA) {
		// No longer than it is served: the sweep waits until its objects are known, and who lets it go waits for the sweep.
		r.group.Go(func() {
			r.sweepVirtual(r.living)
			r.sweepHost(r.living)
			r.sweepAsked()
		})
	}
}

// scope is the tenant as kinds see it now.
func (r *tenantRun) scope() *Scope {
	return &Scope{
		Tenant:       *r.tenant.Load(),
		VirtualCache: r.cache, VirtualClient: r.client,
		HostCache: r.engine.hostCache, HostClient: r.engine.hostClient,
		namespaces: r.engine.options.Namespaces, hostSpaces: r.engine.spaces, usage: r.engine.options.Usage, events: r.recorder,
		enqueue: r.enqueue, run: r,
	}
}

func (r *tenantRun) enqueue(kind string, key Key) {
	if index, ok := r.engine.kindByID[kind]; ok {
		r.engine.queue.add(r.uid, work{kind: index, key: key})
	}
}
