// Package referenced copies to the host what pods, and Ingresses, refer to by name: ConfigMaps and Secrets, and only those
// that something of the tenant refers to.
//
// It is the shared half of the kinds configmap and secret; it knows nothing of their contents. Host copies are not
// watched (the agent has no right to watch Secrets of a whole cluster): what was written is remembered, and read again
// after a restart. Invariants: nothing of another owner is read into or overwritten; a name that a pod refers to, but
// that the tenant has no object for, is held by an empty copy of our own, so that a pod never mounts a foreign object.
package referenced

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// ErrMissing says that the tenant has no object of this name.
var ErrMissing = errors.New("the object does not exist")

// Type describes one of the two types of object.
type Type struct {
	// Kind is the lower-case kind, the name of the engine's Kind.
	Kind string
	// Empty returns an empty object.
	Empty func() client.Object
	// Fill makes hostObject's content that of virtualObject; of an empty virtualObject it makes an empty one. It returns
	// false if the host object must be made anew because something of it cannot change.
	Fill func(hostObject, virtualObject client.Object) bool
	// Names are the objects of this type that a pod refers to.
	Names func(pod *corev1.Pod) []string
	// IsRequired tells whether a pod refers to an object in a way that is not optional.
	IsRequired func(pod *corev1.Pod, name string) bool
	// Referrers are the other types that refer to objects of this type. None of them requires one: they do without what the
	// tenant deletes.
	Referrers []Referrer
}

// Copier copies objects of one type. It is safe for concurrent use.
type Copier struct {
	typ Type

	mu     sync.Mutex
	copies map[types.UID]map[engine.Key]*entry // protected by mu; by tenant
}

// entry is what is known of one host copy. Its lock is held while the copy is written.
type entry struct {
	mu sync.Mutex
	// The following are protected by mu.
	dropped bool // no longer in Copier.copies
	onHost  bool // there may be a copy on the host, whatever is known of it
	known   bool
	uid     types.UID // of the tenant object; empty for a placeholder
	version string    // of the tenant object that was copied
}

// NewCopier makes a copier.
func NewCopier(typ Type) *Copier {
	return &Copier{typ: typ, copies: map[types.UID]map[engine.Key]*entry{}}
}

// Ensure makes sure that the host has the copy of an object that a pod refers to. If the tenant has no such object,
// an optional one gets an empty copy that is filled later, and for others the error is ErrMissing.
func (c *Copier) Ensure(ctx context.Context, scope *engine.Scope, key engine.Key, optional bool) error {
	e := c.lock(scope.Tenant.UID, key)
	defer e.mu.Unlock()
	if e.known && (optional || e.uid != "") {
		return nil
	}
	virtualObject := c.typ.Empty()
	err := scope.VirtualClient.Get(ctx, key.NamespacedName(), virtualObject)
	if apierrors.IsNotFound(err) && !optional {
		return ErrMissing
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get %s %q: %w", c.typ.Kind, key, err)
	}
	// Who refers to it may have gone while it was written; that it has is looked at once more, now that there is a copy. There may be
	// one also when the host's answer is lost.
	defer scope.Enqueue(c.typ.Kind, key)
	return c.write(ctx, scope, key, e, virtualObject)
}

// write brings the host copy to virtualObject, which is empty if the tenant has none. e.mu must be held.
func (c *Copier) write(ctx context.Context, scope *engine.Scope, key engine.Key, e *entry, virtualObject client.Object) error {
	e.known = false
	uid, version := virtualObject.GetUID(), virtualObject.GetResourceVersion()
	virtualObject.SetNamespace(key.Namespace)
	virtualObject.SetName(key.Name)
	meta := scope.HostMeta(virtualObject)
	hostObject := c.typ.Empty()
	setMeta(hostObject, meta)
	c.typ.Fill(hostObject, virtualObject)
	desired, _ := hostObject.DeepCopyObject().(client.Object)
	err := scope.CreateHost(ctx, virtualObject, hostObject)
	if errors.Is(err, engine.ErrPredecessor) || err == nil && hostObject.GetUID() != "" && !sameContent(desired, hostObject, c.typ) {
		err = c.overwrite(ctx, scope, hostObject, meta, virtualObject)
	}
	if err != nil {
		return err
	}
	e.onHost, e.known, e.uid, e.version = true, true, uid, version
	return nil
}

// sameContent tells whether filling again would change nothing.
func sameContent(desired, hostObject client.Object, typ Type) bool {
	probe, _ := hostObject.DeepCopyObject().(client.Object)
	typ.Fill(probe, desired)
	return equality.Semantic.DeepEqual(probe, hostObject)
}

// overwrite brings an existing copy of ours, also that of an earlier object of the name, to the tenant's object.
func (c *Copier) overwrite(ctx context.Context, scope *engine.Scope, hostObject client.Object, meta metav1.ObjectMeta, virtualObject client.Object) error {
	probe, _ := hostObject.DeepCopyObject().(client.Object)
	if !c.typ.Fill(probe, virtualObject) {
		if err := scope.DeleteHost(ctx, hostObject); err != nil {
			return err
		}
		fresh := c.typ.Empty()
		setMeta(fresh, meta)
		c.typ.Fill(fresh, virtualObject)
		return scope.CreateHost(ctx, virtualObject, fresh)
	}
	_, err := engine.UpdateHost(ctx, scope, hostObject, func(hostObject client.Object) {
		engine.SetHostMeta(hostObject, meta)
		c.typ.Fill(hostObject, virtualObject)
	})
	return err
}

func setMeta(object client.Object, meta metav1.ObjectMeta) {
	object.SetNamespace(meta.Namespace)
	object.SetName(meta.Name)
	object.SetLabels(meta.Labels)
	object.SetAnnotations(meta.Annotations)
}

// remove deletes a host copy that nothing refers to any more.
func (c *Copier) remove(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	e := c.lock(scope.Tenant.UID, key)
	defer e.mu.Unlock()
	e.known = false
	hostObject := engine.MetadataOnly(c.typ.Empty())
	err := scope.HostClient.Get(ctx, scope.HostKey(c.typ.Empty(), key), hostObject)
	if apierrors.IsNotFound(err) {
		c.forget(scope.Tenant.UID, key, e)
		return nil
	}
	if err != nil {
		return &engine.HostError{Action: fmt.Sprintf("get %s %q", c.typ.Kind, key), Err: err}
	}
	if _, isCopy := hostObject.Annotations[mapping.AnnotationTenantUID]; !isCopy {
		return nil
	}
	if err := scope.DeleteHost(ctx, hostObject); err != nil {
		return err
	}
	c.forget(scope.Tenant.UID, key, e)
	return nil
}

// remembers tells whether a host copy may exist.
func (c *Copier) remembers(tenant types.UID, key engine.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.copies[tenant][key]
	return ok
}

// recall notes that a host copy exists whose content is not known.
func (c *Copier) recall(tenant types.UID, key engine.Key) {
	e := c.lock(tenant, key)
	defer e.mu.Unlock()
	e.onHost = true
}

func (c *Copier) entry(tenant types.UID, key engine.Key) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	copies, ok := c.copies[tenant]
	if !ok {
		copies = map[engine.Key]*entry{}
		c.copies[tenant] = copies
	}
	e, ok := copies[key]
	if !ok {
		e = &entry{}
		copies[key] = e
	}
	return e
}

// lock returns the entry of a key with its lock held.
func (c *Copier) lock(tenant types.UID, key engine.Key) *entry {
	for {
		e := c.entry(tenant, key)
		e.mu.Lock()
		if !e.dropped {
			return e
		}
		e.mu.Unlock()
	}
}

// forget drops an entry, whose lock must be held.
func (c *Copier) forget(tenant types.UID, key engine.Key, e *entry) {
	e.dropped = true
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.copies[tenant], key)
}

func (c *Copier) stopped(tenant types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.copies, tenant)
}

// Doubt makes the next Ensure look at the host copy again, because somebody may have removed it.
func (c *Copier) Doubt(tenant types.UID, key engine.Key) {
	e := c.lock(tenant, key)
	defer e.mu.Unlock()
	e.known = false
}

// Has tells whether the host has the copy of an object that the tenant has.
func (c *Copier) Has(tenant types.UID, key engine.Key) bool {
	c.mu.Lock()
	e, ok := c.copies[tenant][key]
	c.mu.Unlock()
	if !ok {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known && e.uid != ""
}
