package customresource

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
)

// show keeps the mirror of a host object that is offered to everybody. What the tenant changes on it is put back; an object of
// its own is left alone.
func show(ctx context.Context, scope *engine.Scope, known state, key engine.Key) error {
	hostObject, isOffered, err := offered(ctx, scope, known.dynamic, known.builtIn, key)
	if err != nil {
		return err
	}
	virtualObject, isInTenant, err := engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), known.dynamic.Empty())
	if err != nil {
		return err
	}
	switch {
	case isInTenant && !mirror.IsMirror(virtualObject):
		return nil // the tenant's own
	case !isOffered && isInTenant:
		return removeMirror(ctx, scope, key, virtualObject)
	case !isOffered:
		return nil
	}
	content, status := known.builtIn.show(hostObject.Object)
	desired, err := mirrorSaying(content, scope, known, key)
	if err != nil {
		return err
	}
	delete(hostObject.Object, "status")
	if len(status) > 0 {
		hostObject.Object["status"] = status
	}
	return keep(ctx, scope, known, key, hostObject, virtualObject, desired)
}

// offered is the host object whose mirror has this key. Of those that have one name in several namespaces it is the oldest, so
// that nobody can take the place of another by it.
func offered(ctx context.Context, scope *engine.Scope, dynamic engine.Dynamic, builtIn builtIn, key engine.Key) (*unstructured.Unstructured, bool, error) {
	if key.Namespace != builtIn.into {
		return nil, false, nil
	}
	list := listOf(dynamic)
	if err := scope.HostCache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, false, fmt.Errorf("list %s of the host: %w", dynamic.Name, err)
	}
	var found *unstructured.Unstructured
	for index := range list.Items {
		hostObject := &list.Items[index]
		if hostObject.GetName() != key.Name || hostObject.GetLabels()[mapping.LabelID] != "" || !mirror.IsOffered(hostObject, builtIn.onlyIfLabelled) {
			continue
		}
		if found == nil || isOlder(hostObject, found) {
			found = hostObject
		}
	}
	if found == nil {
		return nil, false, nil
	}
	return found.DeepCopy(), true, nil
}

func isOlder(one, other *unstructured.Unstructured) bool {
	oneMade, otherMade := one.GetCreationTimestamp(), other.GetCreationTimestamp()
	if !oneMade.Equal(&otherMade) {
		return oneMade.Before(&otherMade)
	}
	return one.GetUID() < other.GetUID()
}
