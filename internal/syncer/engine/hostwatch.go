package engine

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostusage"
)

// oursOnly selects the objects that carry a virtual cluster's ID.
var oursOnly = func() labels.Selector {
	requirement, err := labels.NewRequirement(mapping.LabelID, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is a constant
	}
	return labels.NewSelector().Add(*requirement)
}()

// newHostCache makes the one cache of host objects for all tenants. It sees only objects that carry a virtual
// cluster's ID, but for the types that a trigger wants unfiltered.
func newHostCache(config *rest.Config, kinds []Kind) (cache.Cache, error) {
	byObject := map[client.Object]cache.ByObject{}
	unfiltered := map[string]bool{}
	for _, kind := range kinds {
		for _, trigger := range kind.Triggers {
			if trigger.Side != Host {
				continue
			}
			name := watchedType(trigger.Object)
			if before, ok := unfiltered[name]; ok {
				if before != trigger.Unfiltered {
					return nil, fmt.Errorf("kind %q: host objects of type %s are watched both filtered and unfiltered", kind.Name, name)
				}
				continue
			}
			unfiltered[name] = trigger.Unfiltered
			if trigger.Unfiltered {
				byObject[trigger.Object] = cache.ByObject{Label: labels.Everything()}
			}
		}
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Timeout = -1, 0 // a watch is one long call
	return cache.New(config, cache.Options{
		NewInformer: rewatch.NewInformer, Scheme: Scheme, Mapper: NewMapper(), ByObject: byObject, DefaultLabelSelector: oursOnly,
		DefaultTransform: cache.TransformStripManagedFields(), ReaderFailOnMissingInformer: true,
	})
}

func watchedType(object client.Object) string {
	return fmt.Sprintf("%s as %s", gvkOf(object), reflect.TypeOf(object))
}

// watchHost adds the handlers of all kinds to the cache of the host, before it starts.
func (e *Engine) watchHost(ctx context.Context) error {
	informer, err := e.hostCache.GetInformer(ctx, &corev1.Namespace{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	if _, err := informer.AddEventHandler(e.spaces.handler()); err != nil {
		return err
	}
	if err := countHost(ctx, e.hostCache, &corev1.Namespace{}, e.options.Usage); err != nil {
		return err
	}
	counted := map[string]bool{watchedType(&corev1.Namespace{}): true}
	for index, kind := range e.kinds {
		if err := addIndexes(ctx, e.log, e.hostCache, kind, Host); err != nil {
			return err
		}
		for _, trigger := range kind.Triggers {
			if trigger.Side != Host {
				continue
			}
			if name := watchedType(trigger.Object); !counted[name] {
				counted[name] = true
				if err := countHost(ctx, e.hostCache, trigger.Object, e.options.Usage); err != nil {
					return fmt.Errorf("kind %q: %w", kind.Name, err)
				}
			}
			handle := func(seen notice) { e.hostChanged(index, trigger, seen) }
			if err := addHandler(ctx, e.log, e.hostCache, trigger, handle); err != nil {
				return fmt.Errorf("kind %q: %w", kind.Name, err)
			}
		}
	}
	return nil
}

// countHost counts the host objects of a type for the tenants that they are copies for.
func countHost(ctx context.Context, hostCache cache.Cache, object client.Object, usage *hostusage.Usage) error {
	informer, err := hostCache.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(usageHandler(usage))
	return err
}

func addIndexes(ctx context.Context, log *slog.Logger, into cache.Cache, kind Kind, side Side) error {
	for _, index := range kind.Indexes {
		if index.Side != side {
			continue
		}
		values := func(object client.Object) []string { return valuesOf(log, index, object) }
		if err := into.IndexField(ctx, index.Object, index.Field, values); err != nil {
			return fmt.Errorf("kind %q: index %q: %w", kind.Name, index.Field, err)
		}
	}
	return nil
}

func addHandler(ctx context.Context, log *slog.Logger, from cache.Cache, trigger Trigger, handle func(notice)) error {
	informer, err := from.GetInformer(ctx, trigger.Object, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(handlerFuncs(log, trigger, handle))
	return err
}

// handlerFuncs looks at the old and the new object of an update: a reference that was removed concerns what it named.
func handlerFuncs(log *slog.Logger, trigger Trigger, handle func(notice)) toolscache.ResourceEventHandler {
	one := func(object any, seen notice) {
		if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		if typed, ok := object.(client.Object); ok {
			seen.object, seen.at = typed, time.Now()
			handle(seen)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { one(object, notice{}) },
		DeleteFunc: func(object any) { one(object, notice{}) },
		UpdateFunc: func(before, after any) {
			old, isOld := before.(client.Object)
			new, isNew := after.(client.Object)
			if isOld && isNew && ignores(log, trigger, old, new) {
				return
			}
			seen := notice{isEdited: isOld && isNew && isEdit(old, new)}
			if trigger.Keys != nil {
				one(before, seen)
			}
			one(after, seen)
		},
	}
}

// hostChanged queues the keys that a host object concerns.
func (e *Engine) hostChanged(kind int, trigger Trigger, seen notice) {
	seen.isEdited = seen.isEdited && !e.own.isOwn(seen.object)
	concerned := e.concerned
	if trigger.Everybody {
		concerned = func(client.Object) []*tenantRun { return e.runsWhere(everyRun) }
	}
	for _, run := range concerned(seen.object) {
		e.enqueueFrom(run, kind, trigger, seen.object, seen.cause(Host))
	}
}

// concerned are the tenants that a host object may concern: see Trigger.Keys.
func (e *Engine) concerned(hostObject client.Object) []*tenantRun {
	if uid := hostObject.GetLabels()[mapping.LabelUID]; uid != "" {
		return e.runsWhere(func(run *tenantRun) bool { return run.uid == types.UID(uid) })
	}
	if namespace := hostObject.GetNamespace(); namespace != "" {
		mapped, ok := e.spaces.lookup(namespace)
		if !ok {
			return nil
		}
		return e.runsWhere(func(run *tenantRun) bool { return run.tenant.Load().ID == mapped.tenantID })
	}
	return e.runsWhere(everyRun)
}

func everyRun(*tenantRun) bool { return true }

func (e *Engine) runsWhere(want func(*tenantRun) bool) []*tenantRun {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var runs []*tenantRun
	for _, run := range e.running {
		if want(run) {
			runs = append(runs, run)
		}
	}
	return runs
}

// enqueueFrom queues what an object of a trigger concerns, and remembers why.
func (e *Engine) enqueueFrom(run *tenantRun, kind int, trigger Trigger, object client.Object, why cause) {
	scope := run.scope()
	if trigger.Keys == nil && trigger.Side == Virtual {
		e.queue.addFor(run.uid, work{kind: kind, key: KeyOf(object)}, why)
		return
	}
	own, hasOwn := scope.TenantKey(object)
	if trigger.Keys == nil {
		if hasOwn {
			e.queue.addFor(run.uid, work{kind: kind, key: own}, why)
		}
		return
	}
	scope.VirtualCache, scope.HostCache = impatient{scope.VirtualCache}, impatient{scope.HostCache}
	isCopy := hasOwn && trigger.Side == Host && reflect.TypeOf(object) == reflect.TypeOf(e.kinds[kind].Object)
	for _, key := range keysOf(e.log, trigger, scope, object) {
		if isCopy && key == own {
			e.queue.addFor(run.uid, work{kind: kind, key: key}, why)
		} else {
			e.queue.addFor(run.uid, work{kind: kind, key: key}, why.ofAnother())
		}
	}
}
