// Package mirror shows classes of the host, which are cluster-scoped and have no status, in virtual clusters.
//
// It is the shared part of the kinds storageclass, ingressclass, runtimeclass, priorityclass and of those of storage drivers;
// what of a class is shown is theirs to say. A mirror has the host's name, unless its kind says otherwise, and carries the
// label mapping.LabelMirror.
//
// Invariants: only objects with that label are written or deleted; a class that the tenant made itself is left alone, even
// when the host has one of the same name; what a tenant changes on a mirror is put back; a class that whoever runs the host
// does not offer, or that the tenant's account does not allow, is not shown.
package mirror

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// replaceRetry is how long to wait for a deleted mirror to be gone, if its deletion is not seen.
const replaceRetry = 2 * time.Second

// Class is one type of class.
type Class[T client.Object] struct {
	// Name of the kind.
	Name string
	// Empty makes an empty object.
	Empty func() T
	// OnlyIfLabelled keeps classes from tenants that whoever runs the host did not mark by mapping.LabelOffer.
	OnlyIfLabelled bool
	// Translate makes the mirror of a host class, without metadata that all mirrors have. It copies nothing that only the host
	// should know.
	Translate func(hostClass T) T
	// NeedsReplacement tells whether a mirror differs in a field that the API does not let anybody change.
	NeedsReplacement func(have, want T) bool
	// Repair makes the other fields of a mirror what they should be. It leaves labels and annotations of the tenant's own,
	// which mean nothing to anybody else.
	Repair func(have, want T)

	// Allowed are the classes that an account lets its virtual clusters use. Nil means that accounts do not choose among them.
	Allowed func(account *rules.Rules) rules.Classes

	// Fit changes a mirror to what this tenant may see of the class, by what else the tenant sees, and tells whether it is shown
	// at all. It reads caches only. Nil means that every tenant sees the same.
	Fit func(ctx context.Context, scope *engine.Scope, hostClass, mirror T) (isShown bool, err error)
	// Also wakes the kind beside the class's own two sides: for what Fit looks at.
	Also []engine.Trigger

	// Keys are the keys of the mirrors of a host class, and Find what the mirror of a key shows. Both are for types that have
	// namespaces on the host. Nil means that a mirror has the name of its class.
	Keys func(scope *engine.Scope, hostClass client.Object) []engine.Key
	Find func(ctx context.Context, scope *engine.Scope, key engine.Key) (hostClass T, isOnHost bool, err error)
	// Indexes are those that Find and Also use.
	Indexes []engine.Index
}

// Kind returns the kind that mirrors the class.
func (c Class[T]) Kind() engine.Kind {
	keys := c.Keys
	if keys == nil {
		keys = sameName
	}
	return engine.Kind{
		Name:   c.Name,
		Object: c.Empty(),
		Triggers: append([]engine.Trigger{
			{Side: engine.Virtual, Object: c.Empty()},
			// What has a namespace on the host would concern nobody.
			{Side: engine.Host, Object: c.Empty(), Unfiltered: true, Everybody: c.Find != nil, Keys: keys},
		}, c.Also...),
		Indexes:   c.Indexes,
		Reconcile: c.reconcile,
	}
}

func sameName(_ *engine.Scope, hostClass client.Object) []engine.Key {
	return []engine.Key{{Name: hostClass.GetName()}}
}

// IsMirror tells whether a tenant's object is a mirror, and so the agent's to write.
func IsMirror(virtualClass client.Object) bool {
	return virtualClass.GetLabels()[mapping.LabelMirror] == "true"
}

func (c Class[T]) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	want, isShown, err := c.wanted(ctx, scope, key)
	if err != nil {
		return engine.Result{}, err
	}
	have, isInTenant, err := engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), c.Empty())
	if err != nil {
		return engine.Result{}, err
	}
	switch {
	case isInTenant && !IsMirror(have):
		return engine.Result{}, nil // the tenant's own
	case !isInTenant && !isShown:
		return engine.Result{}, nil
	case !isInTenant:
		return engine.Result{}, c.wrap("create", key, scope.VirtualClient.Create(ctx, want))
	case !isShown:
		return engine.Result{}, c.remove(ctx, scope, have)
	}
	if c.NeedsReplacement(have, want) {
		return engine.Result{RequeueAfter: replaceRetry}, c.remove(ctx, scope, have)
	}
	repaired, _ := have.DeepCopyObject().(T)
	c.Repair(repaired, want)
	if equality.Semantic.DeepEqual(have, repaired) {
		return engine.Result{}, nil
	}
	return engine.Result{}, c.wrap("update", key, scope.VirtualClient.Update(ctx, repaired))
}

// wanted is the mirror of a key, and whether there is one.
func (c Class[T]) wanted(ctx context.Context, scope *engine.Scope, key engine.Key) (mirror T, isShown bool, err error) {
	hostClass, isOnHost, err := c.find(ctx, scope, key)
	if err != nil || !isOnHost || !c.Offers(hostClass) || !c.isAllowed(scope, key.Name) {
		return mirror, false, err
	}
	mirror = c.Translate(hostClass)
	mirror.SetNamespace(key.Namespace)
	mirror.SetName(key.Name)
	mirror.SetLabels(map[string]string{mapping.LabelMirror: "true"})
	if c.Fit == nil {
		return mirror, true, nil
	}
	isShown, err = c.Fit(ctx, scope, hostClass, mirror)
	return mirror, isShown, err
}

func (c Class[T]) find(ctx context.Context, scope *engine.Scope, key engine.Key) (hostClass T, isOnHost bool, err error) {
	if c.Find != nil {
		return c.Find(ctx, scope, key)
	}
	return engine.Get(ctx, scope.HostCache, key.NamespacedName(), c.Empty())
}

// isAllowed tells whether the tenant's account lets it use a class.
func (c Class[T]) isAllowed(scope *engine.Scope, name string) bool {
	return c.Allowed == nil || scope.Tenant.Account == nil || c.Allowed(scope.Tenant.Account).Allow(name)
}

// IsOfferedTo tells whether this tenant may use a host class.
func (c Class[T]) IsOfferedTo(scope *engine.Scope, hostClass T) bool {
	return c.Offers(hostClass) && c.isAllowed(scope, hostClass.GetName())
}

// Offers tells whether virtual clusters may use a host class.
func (c Class[T]) Offers(hostClass T) bool { return IsOffered(hostClass, c.OnlyIfLabelled) }

// IsOffered tells whether virtual clusters may use an object of the host, by the label mapping.LabelOffer.
func IsOffered(hostObject client.Object, onlyIfLabelled bool) bool {
	switch hostObject.GetLabels()[mapping.LabelOffer] {
	case "true":
		return true
	case "":
		return !onlyIfLabelled
	default:
		return false
	}
}

// Hides tells whether the host has a class of this name that it does not offer to the tenant.
func (c Class[T]) Hides(ctx context.Context, scope *engine.Scope, name string) (bool, error) {
	hostClass, isOnHost, err := engine.Get(ctx, scope.HostCache, client.ObjectKey{Name: name}, c.Empty())
	return err == nil && isOnHost && !c.IsOfferedTo(scope, hostClass), err
}

// Check refuses what names a host class that is not offered. Not to show it is not enough, since a tenant can make a class of
// its name. A class that the host does not have is the host's to refuse.
func (c Class[T]) Check(ctx context.Context, scope *engine.Scope, name string) error {
	if isHidden, err := c.Hides(ctx, scope, name); err != nil || !isHidden {
		return err
	}
	return engine.Refuse(engine.ReasonNotSupported, "the %s %q is not offered to virtual clusters; choose one of those that you see, or ask the operator for it", c.Name, name)
}

// remove deletes exactly this mirror; the class of a tenant that took the name meanwhile stays.
func (c Class[T]) remove(ctx context.Context, scope *engine.Scope, mirror T) error {
	uid, version := mirror.GetUID(), mirror.GetResourceVersion()
	err := scope.VirtualClient.Delete(ctx, mirror, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return c.wrap("delete", engine.KeyOf(mirror), client.IgnoreNotFound(err))
}

func (c Class[T]) wrap(verb string, key engine.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s %q: %w", verb, c.Name, key, err)
}
