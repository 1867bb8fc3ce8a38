package storageclass

import (
	"context"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// Name of the kind.
const Name = "storageclass"

// replaceRetry is how long to wait for a deleted mirror to be gone, if its deletion is not seen.
const replaceRetry = 2 * time.Second

// New returns the kind.
func New() engine.Kind {
	return engine.Kind{
		Name:   Name,
		Object: &storagev1.StorageClass{},
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &storagev1.StorageClass{}},
			{Side: engine.Host, Object: &storagev1.StorageClass{}, Unfiltered: true, Keys: sameName},
		},
		Reconcile: reconcile,
	}
}

func sameName(_ *engine.Scope, hostObject client.Object) []engine.Key {
	return []engine.Key{{Name: hostObject.GetName()}}
}

func reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	hostClass, err := get(ctx, scope.HostCache, key)
	if err != nil {
		return engine.Result{}, err
	}
	mirror, err := get(ctx, scope.VirtualCache, key)
	if err != nil {
		return engine.Result{}, err
	}
	switch {
	case mirror != nil && !isMirror(mirror):
		return engine.Result{}, nil // the tenant's own
	case mirror == nil && hostClass == nil:
		return engine.Result{}, nil
	case mirror == nil:
		return engine.Result{}, wrap("create", key, scope.VirtualClient.Create(ctx, translate(hostClass)))
	case hostClass == nil:
		return engine.Result{}, remove(ctx, scope, mirror)
	}
	want := translate(hostClass)
	if needsReplacement(mirror, want) {
		return engine.Result{RequeueAfter: replaceRetry}, remove(ctx, scope, mirror)
	}
	repaired, changed := repair(mirror, want)
	if !changed {
		return engine.Result{}, nil
	}
	return engine.Result{}, wrap("update", key, scope.VirtualClient.Update(ctx, repaired))
}

// remove deletes exactly this mirror; the class of a tenant that took the name meanwhile stays.
func remove(ctx context.Context, scope *engine.Scope, mirror *storagev1.StorageClass) error {
	uid, version := mirror.UID, mirror.ResourceVersion
	err := scope.VirtualClient.Delete(ctx, mirror, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return wrap("delete", engine.KeyOf(mirror), client.IgnoreNotFound(err))
}

func get(ctx context.Context, reader client.Reader, key engine.Key) (*storagev1.StorageClass, error) {
	class := &storagev1.StorageClass{}
	if err := reader.Get(ctx, key.NamespacedName(), class); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, wrap("get", key, err)
	}
	return class, nil
}

func wrap(verb string, key engine.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s storageclass %q: %w", verb, key, err)
}
