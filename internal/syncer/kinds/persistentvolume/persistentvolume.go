package persistentvolume

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// Name of the kind.
const Name = "persistentvolume"

// replaceRetry is how long to wait for a deleted mirror to be gone, if its deletion is not seen.
const replaceRetry = 2 * time.Second

// New returns the kind.
func New() engine.Kind {
	return engine.Kind{
		Name:   Name,
		Object: &corev1.PersistentVolume{},
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &corev1.PersistentVolume{}},
			{Side: engine.Host, Object: &corev1.PersistentVolume{}, Unfiltered: true, Keys: volumesOfTenant},
			{Side: engine.Host, Object: &corev1.PersistentVolumeClaim{}, Keys: volumeOfClaim},
		},
		Reconcile: reconcile,
	}
}

// volumesOfTenant keeps the volumes of everybody else from waking anything.
func volumesOfTenant(scope *engine.Scope, hostObject client.Object) []engine.Key {
	hostVolume, ok := hostObject.(*corev1.PersistentVolume)
	if !ok || !belongsToTenant(scope, hostVolume) {
		return nil
	}
	return []engine.Key{{Name: hostVolume.Name}}
}

func volumeOfClaim(_ *engine.Scope, hostObject client.Object) []engine.Key {
	hostClaim, ok := hostObject.(*corev1.PersistentVolumeClaim)
	if !ok || hostClaim.Spec.VolumeName == "" {
		return nil
	}
	return []engine.Key{{Name: hostClaim.Spec.VolumeName}}
}

// belongsToTenant tells whether a host volume is bound to a claim in one of this tenant's mapped namespaces.
func belongsToTenant(scope *engine.Scope, hostVolume *corev1.PersistentVolume) bool {
	if hostVolume.Spec.ClaimRef == nil {
		return false
	}
	_, ok := scope.TenantNamespace(hostVolume.Spec.ClaimRef.Namespace)
	return ok
}

// isInUnseenNamespace tells whether a volume's claim is in a mapped namespace of this tenant that the engine has not seen
// yet, as may be just after its start. A mirror must not go for that.
func isInUnseenNamespace(ctx context.Context, scope *engine.Scope, hostVolume *corev1.PersistentVolume) (bool, error) {
	claimRef := hostVolume.Spec.ClaimRef
	if claimRef == nil || !strings.HasPrefix(claimRef.Namespace, mapping.HostNamespace(scope.Tenant.ID, "")) {
		return false, nil
	}
	namespace := &corev1.Namespace{}
	err := scope.HostClient.Get(ctx, client.ObjectKey{Name: claimRef.Namespace}, namespace)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, &engine.HostError{Action: fmt.Sprintf("get namespace %q", claimRef.Namespace), Err: err}
	}
	return scope.Owns(namespace) && namespace.DeletionTimestamp == nil, nil
}

func reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	hostVolume, err := get(ctx, scope.HostCache, key)
	if err != nil {
		return engine.Result{}, err
	}
	if hostVolume != nil && !belongsToTenant(scope, hostVolume) {
		isUnseen, err := isInUnseenNamespace(ctx, scope, hostVolume)
		if err != nil || isUnseen {
			return engine.Result{RequeueAfter: replaceRetry}, err
		}
		hostVolume = nil
	}
	virtualVolume, err := get(ctx, scope.VirtualCache, key)
	if err != nil {
		return engine.Result{}, err
	}
	switch {
	case hostVolume == nil && (virtualVolume == nil || !IsMirror(virtualVolume)):
		return engine.Result{}, nil
	case hostVolume == nil:
		return engine.Result{}, remove(ctx, scope, virtualVolume)
	case virtualVolume != nil && !IsMirror(virtualVolume):
		return engine.Result{}, engine.Refuse(engine.ReasonNameTaken,
			"the host has bound a claim of yours to a volume of this name; delete this object so that the volume can appear here")
	}
	claim, err := claimOf(ctx, scope, hostVolume)
	if err != nil {
		return engine.Result{}, err
	}
	want := Translate(hostVolume, claim)
	if virtualVolume == nil {
		return engine.Result{}, create(ctx, scope, hostVolume, want)
	}
	if needsReplacement(virtualVolume, want) {
		return engine.Result{RequeueAfter: replaceRetry}, remove(ctx, scope, virtualVolume)
	}
	return engine.Result{}, update(ctx, scope, hostVolume, virtualVolume, want)
}

func create(ctx context.Context, scope *engine.Scope, hostVolume, want *corev1.PersistentVolume) error {
	if err := scope.VirtualClient.Create(ctx, want); err != nil {
		return fmt.Errorf("create persistentvolume %q: %w", want.Name, err)
	}
	return copyStatus(ctx, scope, hostVolume, want)
}

func update(ctx context.Context, scope *engine.Scope, hostVolume, virtualVolume, want *corev1.PersistentVolume) error {
	repaired, changed := repair(virtualVolume, want)
	if changed {
		if err := scope.VirtualClient.Update(ctx, repaired); err != nil {
			return fmt.Errorf("update persistentvolume %q: %w", repaired.Name, err)
		}
	}
	return copyStatus(ctx, scope, hostVolume, repaired)
}

func copyStatus(ctx context.Context, scope *engine.Scope, hostVolume, virtualVolume *corev1.PersistentVolume) error {
	return engine.PatchVirtualStatus(ctx, scope, virtualVolume, func(virtualVolume *corev1.PersistentVolume) {
		virtualVolume.Status = status(hostVolume, virtualVolume)
	})
}

// remove deletes a mirror whose host volume is gone. The tenant's pv-protection keeps a Bound volume, so it must not
// be Bound any more: its claim is gone, or is about to be Lost.
func remove(ctx context.Context, scope *engine.Scope, mirror *corev1.PersistentVolume) error {
	if mirror.Status.Phase == corev1.VolumeBound {
		released := mirror.DeepCopy()
		err := engine.PatchVirtualStatus(ctx, scope, released, func(mirror *corev1.PersistentVolume) {
			mirror.Status.Phase = corev1.VolumeReleased
		})
		if err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	if mirror.DeletionTimestamp != nil {
		return nil
	}
	uid := mirror.UID
	err := scope.VirtualClient.Delete(ctx, mirror, client.Preconditions{UID: &uid})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete persistentvolume %q: %w", mirror.Name, err)
	}
	return nil
}

// claimOf is the tenant claim that a host volume is bound to. Its UID comes from the host claim, if that still is the
// one that the volume is bound to.
func claimOf(ctx context.Context, scope *engine.Scope, hostVolume *corev1.PersistentVolume) (Claim, error) {
	claimRef := hostVolume.Spec.ClaimRef
	namespace, _ := scope.TenantNamespace(claimRef.Namespace)
	claim := Claim{Namespace: namespace, Name: claimRef.Name}
	hostClaim := &corev1.PersistentVolumeClaim{}
	err := scope.HostCache.Get(ctx, client.ObjectKey{Namespace: claimRef.Namespace, Name: claimRef.Name}, hostClaim)
	if client.IgnoreNotFound(err) != nil {
		return Claim{}, fmt.Errorf("get host claim of volume %q: %w", hostVolume.Name, err)
	}
	if err == nil && scope.Owns(hostClaim) && (claimRef.UID == "" || claimRef.UID == hostClaim.UID) {
		claim.UID = tenantUID(hostClaim)
	}
	return claim, nil
}

func get(ctx context.Context, reader client.Reader, key engine.Key) (*corev1.PersistentVolume, error) {
	volume := &corev1.PersistentVolume{}
	if err := reader.Get(ctx, key.NamespacedName(), volume); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("get persistentvolume %q: %w", key, err)
	}
	return volume, nil
}
