// Package hostcopy writes host copies that have no life of their own: what they say comes from the tenant's object alone,
// so a copy may be written anew, and taken over from an earlier object of the same name, without anything being lost.
//
// It is the shared part of such kinds and knows none of them. Invariants: a name that is reserved for the agent's own
// objects is never written or deleted; a host object that is not the tenant's is never touched.
package hostcopy

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// deletionRetry is how long to wait for a host object that somebody deletes to be gone, if that is not seen.
const deletionRetry = 2 * time.Second

// Pair is a tenant's object and what the host has of that name, as the caches show them.
type Pair[T client.Object] struct {
	Virtual T
	Host    T
	// HasVirtual and HasHost tell whether they exist. A host object that is not the tenant's counts as none.
	HasVirtual, HasHost bool
}

// Read reads both sides. empty makes an empty object of the type.
func Read[T client.Object](ctx context.Context, scope *engine.Scope, key engine.Key, empty func() T) (Pair[T], error) {
	var pair Pair[T]
	var err error
	pair.Virtual, pair.HasVirtual, err = engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), empty())
	if err != nil || mapping.IsReserved(key.Name) {
		return pair, err // what the host has of a reserved name is the agent's own, and none of the tenant's
	}
	pair.Host, pair.HasHost, err = engine.Get(ctx, scope.HostCache, scope.HostKey(empty(), key), empty())
	if err != nil {
		return pair, err
	}
	if pair.HasHost && !scope.Owns(pair.Host) {
		var none T
		pair.Host, pair.HasHost = none, false
	}
	return pair, nil
}

// Write brings the host copy to desired, whose metadata is from Scope.HostMeta. fill makes the content of hostObject that
// of desired, where it differs; what the host itself adds must stay.
func (p Pair[T]) Write(ctx context.Context, scope *engine.Scope, desired T, fill func(hostObject T)) (engine.Result, error) {
	hostObject := p.Host
	if !p.HasHost {
		hostObject, _ = desired.DeepCopyObject().(T)
		err := scope.CreateHost(ctx, p.Virtual, hostObject)
		if !errors.Is(err, engine.ErrPredecessor) {
			return engine.Result{}, err
		}
	}
	if hostObject.GetDeletionTimestamp() != nil {
		return engine.Result{RequeueAfter: deletionRetry}, nil
	}
	meta := metav1.ObjectMeta{Labels: desired.GetLabels(), Annotations: desired.GetAnnotations()}
	_, err := engine.UpdateHost(ctx, scope, hostObject, func(hostObject T) {
		engine.SetHostMeta(hostObject, meta)
		fill(hostObject)
	})
	return engine.Result{}, err
}

// Remove deletes the host copy of a tenant's object that must not be on the host (any more), if there is one.
func (p Pair[T]) Remove(ctx context.Context, scope *engine.Scope) error {
	if !p.HasHost || p.Host.GetDeletionTimestamp() != nil {
		return nil
	}
	return scope.DeleteHost(ctx, p.Host)
}

// RemoveOrphan deletes the host copy of a tenant's object that does not exist, if there is one.
func (p Pair[T]) RemoveOrphan(ctx context.Context, scope *engine.Scope, empty T) error {
	if !p.HasHost || p.Host.GetDeletionTimestamp() != nil {
		return nil
	}
	return scope.DeleteOrphan(ctx, empty, p.Host)
}

// Set makes a field what it should be, unless that is what it means already: the host may write it in another way.
func Set[F any](field *F, desired F) {
	if !equality.Semantic.DeepEqual(*field, desired) {
		*field = desired
	}
}
