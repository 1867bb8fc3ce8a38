package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxDynamic bounds the types that one tenant follows. The schema of VirtualCluster allows fewer.
const maxDynamic = 32

// Dynamic is a type that is not built in and that only some tenants have: a custom resource. A kind follows it
// for a tenant by Scope.Follow; it is then watched on both sides, with caches of its own that end with the following.
type Dynamic struct {
	// Name is that of its CustomResourceDefinition: <plural>.<group>.
	Name string
	GVK  schema.GroupVersionKind
	// Plural is the name of the type in paths of the API.
	Plural string
	// Everything watches all host objects of the type, not only those that carry a virtual cluster's ID.
	Everything bool
	// ClusterScoped types have no namespace.
	ClusterScoped bool
	// Into is the tenant's namespace of the keys of host objects, for a type whose host objects concern every tenant
	// whatever namespace they are in. "" means that they concern the tenant of their mapped namespace.
	Into string
	// Unique is the path of a list of names that only one tenant may have, such as spec.hostnames; parts are separated by dots.
	// Objects are found by them with IndexUnique, and a host object wakes those of every tenant that has one of its names.
	Unique string
}

// IndexUnique is the index of the names of Dynamic.Unique.
const IndexUnique = "unique"

func (d Dynamic) names(object client.Object) []string {
	content, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	names, _, err := unstructured.NestedStringSlice(content.Object, strings.Split(d.Unique, ".")...)
	if err != nil {
		return nil // something else than names: nothing that could be found by them
	}
	return names
}

func (d Dynamic) emptyList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(d.GVK.GroupVersion().WithKind(d.GVK.Kind + "List"))
	return list
}

// Empty is an empty object of the type.
func (d Dynamic) Empty() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(d.GVK)
	return object
}

func (d Dynamic) mapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{d.GVK.GroupVersion()})
	resource := d.GVK.GroupVersion().WithResource(d.Plural)
	scope := meta.RESTScopeNamespace
	if d.ClusterScoped {
		scope = meta.RESTScopeRoot
	}
	mapper.AddSpecific(d.GVK, resource, resource, scope)
	return mapper
}

// Keys of objects of dynamic types carry the type's name, which has no slash, before the object's.

// DynamicKey is the key of an object of a dynamic type.
func DynamicKey(name string, key Key) Key {
	return Key{Namespace: key.Namespace, Name: name + "/" + key.Name}
}

// SplitDynamic takes a key apart that the engine made for an object of a dynamic type.
func SplitDynamic(key Key) (name string, objectKey Key) {
	name, object, _ := strings.Cut(key.Name, "/")
	return name, Key{Namespace: key.Namespace, Name: object}
}

// Follow makes the engine watch a type for this tenant, and wake the kind of that name with keys for SplitDynamic. Asking
// again for the same changes nothing; another version or filter replaces what was followed under the name.
func (s *Scope) Follow(kind string, dynamic Dynamic) error {
	index, ok := s.run.engine.kindByID[kind]
	if !ok {
		return fmt.Errorf("follow %q: there is no kind %q", dynamic.Name, kind)
	}
	return s.run.follow(index, dynamic)
}

// Unfollow ends what Follow began.
func (s *Scope) Unfollow(name string) { s.run.unfollow(name) }

// Dynamic is the scope whose caches and clients are those of a type that is followed; ok is false while its caches are not
// filled. When they are, all objects of both sides are looked at.
func (s *Scope) Dynamic(name string) (scope *Scope, dynamic Dynamic, ok bool) {
	s.run.typesMu.RLock()
	followed, ok := s.run.types[name]
	s.run.typesMu.RUnlock()
	if !ok || !followed.isReady.Load() {
		return nil, Dynamic{}, false
	}
	narrowed := *s
	narrowed.VirtualCache, narrowed.VirtualClient = followed.cache, followed.client
	narrowed.HostCache, narrowed.HostClient = followed.host.cache, followed.host.client
	return &narrowed, followed.Dynamic, true
}

// followed is a type that a tenant follows.
type followed struct {
	Dynamic
	cache  cache.Cache
	client client.Client
	host   *hostType
	// ctx ends with the following, by stop.
	ctx     context.Context
	stop    context.CancelFunc
	group   sync.WaitGroup
	isReady atomic.Bool
	// uncount takes the cache out of the tenant's footprint.
	uncount func()
}

func (r *tenantRun) follow(kind int, dynamic Dynamic) error {
	if was, ok := r.followedAs(dynamic.Name); ok {
		if was == dynamic {
			return nil
		}
		r.unfollow(dynamic.Name)
	}
	host, err := r.engine.hostTypes.acquire(kind, dynamic)
	if err != nil {
		return fmt.Errorf("watch %q on the host: %w", dynamic.Name, err)
	}
	begun, err := r.beginFollowing(kind, dynamic, host)
	if err != nil {
		r.engine.hostTypes.release(dynamic)
		return fmt.Errorf("watch %q in the virtual cluster: %w", dynamic.Name, err)
	}
	if !begun {
		r.engine.hostTypes.release(dynamic)
	}
	return nil
}

func (r *tenantRun) followedAs(name string) (Dynamic, bool) {
	r.typesMu.RLock()
	defer r.typesMu.RUnlock()
	if followed, ok := r.types[name]; ok {
		return followed.Dynamic, true
	}
	return Dynamic{}, false
}

// beginFollowing returns false when the tenant is being let go.
func (r *tenantRun) beginFollowing(kind int, dynamic Dynamic, host *hostType) (bool, error) {
	r.typesMu.Lock()
	defer r.typesMu.Unlock()
	if r.ended {
		return false, nil
	}
	if len(r.types) >= maxDynamic {
		return false, fmt.Errorf("the virtual cluster has %d types of its own already; take others out of its spec", maxDynamic)
	}
	ctx, stop := context.WithCancel(r.living)
	one := &followed{Dynamic: dynamic, host: host, ctx: ctx, stop: stop}
	var err error
	one.cache, err = newTypeCache(ctx, r.watchConfig, r.footprint.newInformer, dynamic, nil, func(seen notice) {
		r.engine.queue.addFor(r.uid, work{kind: kind, key: DynamicKey(dynamic.Name, KeyOf(seen.object))}, seen.cause(Virtual))
	}, r.engine)
	if err != nil {
		stop()
		return false, err
	}
	if one.uncount, err = r.footprint.watch(ctx, one.cache, dynamic.Empty()); err != nil {
		stop()
		return false, err
	}
	direct, err := client.New(r.callConfig, client.Options{HTTPClient: r.callHTTP, Scheme: Scheme, Mapper: dynamic.mapper()})
	if err != nil {
		stop()
		return false, err
	}
	one.client = client.WithFieldOwner(direct, FieldManager)
	r.types[dynamic.Name] = one
	one.group.Go(func() {
		if err := one.cache.Start(ctx); err != nil && ctx.Err() == nil {
			r.engine.log.Error("Virtual cluster's cache ended", "type", dynamic.Name, "vcluster", r.name(), "error", err)
		}
	})
	one.group.Go(func() { r.sweepFollowed(ctx, kind, one) })
	return true, nil
}

// sweepFollowed waits for the caches and then queues everything: until then keys were dropped.
func (r *tenantRun) sweepFollowed(ctx context.Context, kind int, one *followed) {
	if !one.cache.WaitForCacheSync(ctx) || !one.host.cache.WaitForCacheSync(ctx) {
		return
	}
	one.isReady.Store(true)
	for side, from := range map[Side]client.Reader{Virtual: one.cache, Host: one.host.cache} {
		list := one.emptyList()
		if err := from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			r.engine.log.Error("Cannot list for the sweep", "type", one.Name, "side", side.String(), "error", err)
			continue
		}
		for index := range list.Items {
			object := &list.Items[index]
			if side == Virtual {
				r.engine.queue.add(r.uid, work{kind: kind, key: DynamicKey(one.Name, KeyOf(object))})
			} else if one.Into != "" || r.concerns(object) {
				r.enqueueHost(kind, one.Dynamic, object, cause{})
			}
		}
	}
}

// enqueueHost queues the key that a host object of a dynamic type belongs to.
func (r *tenantRun) enqueueHost(kind int, dynamic Dynamic, hostObject client.Object, why cause) {
	scope := r.scope()
	key, ok := scope.TenantKey(hostObject)
	switch {
	case dynamic.ClusterScoped, dynamic.Into != "":
		key, ok = Key{Namespace: dynamic.Into, Name: hostObject.GetName()}, true
	case !ok && dynamic.Everything:
		key = Key{Name: hostObject.GetName()}
		key.Namespace, ok = scope.TenantNamespace(hostObject.GetNamespace())
	}
	if ok {
		r.engine.queue.addFor(r.uid, work{kind: kind, key: DynamicKey(dynamic.Name, key)}, why)
	}
}

// enqueueRivals queues the tenant's objects that want a name that a host object has, or had.
func (r *tenantRun) enqueueRivals(kind int, dynamic Dynamic, names []string) {
	r.typesMu.RLock()
	one, ok := r.types[dynamic.Name]
	r.typesMu.RUnlock()
	if !ok || !one.isReady.Load() {
		return // all of them are looked at when it is
	}
	for _, name := range names {
		list := one.emptyList()
		if err := one.cache.List(one.ctx, list, client.MatchingFields{IndexUnique: name}, client.UnsafeDisableDeepCopy); err != nil {
			continue // the following ends
		}
		for index := range list.Items {
			r.engine.queue.add(r.uid, work{kind: kind, key: DynamicKey(dynamic.Name, KeyOf(&list.Items[index]))})
		}
	}
}

func (r *tenantRun) unfollow(name string) {
	r.typesMu.Lock()
	one, ok := r.types[name]
	delete(r.types, name)
	r.typesMu.Unlock()
	if ok {
		r.endFollowing(one)
	}
}

// endFollowing must be called without locks: it waits for handlers, which take them.
func (r *tenantRun) endFollowing(one *followed) {
	one.stop()
	one.group.Wait()
	one.uncount()
	r.engine.hostTypes.release(one.Dynamic)
}

// endTypes ends all following of a tenant that is let go, for good.
func (r *tenantRun) endTypes() {
	r.typesMu.Lock()
	types := r.types
	r.types, r.ended = nil, true
	r.typesMu.Unlock()
	for _, one := range types {
		r.endFollowing(one)
	}
}

// newTypeCache makes a cache of one type, with a handler. A nil selector means all objects.
func newTypeCache(ctx context.Context, config *rest.Config, newInformer informerMaker, dynamic Dynamic, selector labels.Selector, handle func(notice), e *Engine) (cache.Cache, error) {
	made, err := cache.New(config, cache.Options{
		NewInformer: listingAnew(newInformer), Scheme: Scheme, Mapper: dynamic.mapper(), DefaultLabelSelector: selector,
		DefaultTransform: cache.TransformStripManagedFields(), ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return nil, err
	}
	if dynamic.Unique != "" {
		if err := made.IndexField(ctx, dynamic.Empty(), IndexUnique, dynamic.names); err != nil {
			return nil, err
		}
	}
	return made, addHandler(ctx, e.log, made, Trigger{Object: dynamic.Empty(), Ignore: isListedAgain}, handle)
}
