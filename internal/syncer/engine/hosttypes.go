package engine

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
)

// hostTypes are the host's side of dynamic types: one cache of each for all tenants that follow it.
type hostTypes struct {
	engine *Engine
	config *rest.Config

	mu     sync.Mutex
	byType map[Dynamic]*hostType // protected by mu
}

// hostType is the host's side of one dynamic type.
type hostType struct {
	cache  cache.Cache
	client client.Client
	// users is protected by hostTypes.mu.
	users int
	stop  context.CancelFunc
	group sync.WaitGroup
}

func newHostTypes(e *Engine, config *rest.Config) *hostTypes {
	return &hostTypes{engine: e, config: config, byType: map[Dynamic]*hostType{}}
}

// acquire returns the cache and client of a type; release must be called once for each success.
func (h *hostTypes) acquire(kind int, dynamic Dynamic) (*hostType, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.byType[dynamic]; ok {
		known.users++
		return known, nil
	}
	made, err := h.begin(kind, dynamic)
	if err != nil {
		return nil, err
	}
	h.byType[dynamic] = made
	return made, nil
}

// begin starts a cache. It is not bound to whoever asks first, but ends when the last user goes.
func (h *hostTypes) begin(kind int, dynamic Dynamic) (*hostType, error) {
	ctx, stop := context.WithCancel(context.Background())
	made := &hostType{users: 1, stop: stop}
	selector := oursOnly
	if dynamic.Everything {
		selector = nil
	}
	watchConfig, callConfig := rest.CopyConfig(h.config), rest.CopyConfig(h.config)
	watchConfig.QPS, watchConfig.Timeout = -1, 0
	callConfig.QPS, callConfig.Timeout = -1, callTimeout
	callConfig.Wrap(h.engine.options.Pace.Wrap)
	callConfig.Wrap(observed(Host))
	var err error
	made.cache, err = newTypeCache(ctx, watchConfig, rewatch.NewInformer, dynamic, selector, func(seen notice) {
		h.changed(kind, dynamic, seen)
	}, h.engine)
	if err != nil {
		stop()
		return nil, err
	}
	if err := countHost(ctx, made.cache, dynamic.Empty(), h.engine.options.Usage); err != nil {
		stop()
		return nil, err
	}
	direct, err := client.New(callConfig, client.Options{Scheme: Scheme, Mapper: dynamic.mapper()})
	if err != nil {
		stop()
		return nil, err
	}
	made.client = client.WithFieldOwner(client.WithFieldValidation(direct, metav1.FieldValidationStrict), FieldManager)
	made.group.Go(func() {
		if err := made.cache.Start(ctx); err != nil && ctx.Err() == nil {
			h.engine.log.Error("Host's cache of a custom resource ended", "type", dynamic.Name, "error", err)
		}
	})
	return made, nil
}

func (h *hostTypes) changed(kind int, dynamic Dynamic, seen notice) {
	seen.isEdited = seen.isEdited && !h.engine.own.isOwn(seen.object)
	concerned := h.engine.concerned
	if dynamic.Into != "" {
		concerned = func(client.Object) []*tenantRun { return h.engine.runsWhere(everyRun) }
	}
	for _, run := range concerned(seen.object) {
		if is, ok := run.followedAs(dynamic.Name); ok && is == dynamic {
			run.enqueueHost(kind, dynamic, seen.object, seen.cause(Host))
		}
	}
	if dynamic.Unique == "" {
		return
	}
	names := dynamic.names(seen.object)
	for _, run := range h.engine.runsWhere(everyRun) {
		if is, ok := run.followedAs(dynamic.Name); ok && is == dynamic {
			run.enqueueRivals(kind, dynamic, names)
		}
	}
}

// unique are the types of which names belong to one tenant only.
func (h *hostTypes) unique() map[Dynamic]*hostType {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[Dynamic]*hostType{}
	for dynamic, known := range h.byType {
		if dynamic.Unique != "" {
			found[dynamic] = known
		}
	}
	return found
}

// HostObjectsWith are the host objects, of every type that some tenant follows, that have a name of Dynamic.Unique, whoever's
// they are. They are only read.
func (s *Scope) HostObjectsWith(ctx context.Context, name string) ([]client.Object, error) {
	if s.run == nil {
		return nil, nil // a scope of a test that follows nothing
	}
	var found []client.Object
	for dynamic, known := range s.run.engine.hostTypes.unique() {
		list := dynamic.emptyList()
		if err := known.cache.List(ctx, list, client.MatchingFields{IndexUnique: name}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list %s with the name %q: %w", dynamic.Name, name, err)
		}
		for index := range list.Items {
			found = append(found, &list.Items[index])
		}
	}
	return found, nil
}

func (h *hostTypes) release(dynamic Dynamic) {
	h.mu.Lock()
	known := h.byType[dynamic]
	known.users--
	isLast := known.users == 0
	if isLast {
		delete(h.byType, dynamic)
	}
	h.mu.Unlock()
	if isLast {
		known.stop()
		known.group.Wait() // without the lock: handlers may be at work
	}
}
