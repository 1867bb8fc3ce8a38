package persistentvolumeclaim

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/customresource"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostquota"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/storageclass"
)

// Name of the kind.
const Name = "persistentvolumeclaim"

// ReasonClaimLost is the reason of the event on a claim whose volume, or whose host claim, is gone.
const ReasonClaimLost = "ClaimLost"

// indexClaim finds host volumes by the namespace/name of the host claim that they are for.
const indexClaim = Name + ".claim"

// retry is how long to wait for something whose change may not be seen.
const retry = 2 * time.Second

// New returns the kind.
func New() engine.Kind {
	return engine.Kind{
		Name:   Name,
		Object: &corev1.PersistentVolumeClaim{},
		Lane:   engine.LaneFirst,
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &corev1.PersistentVolumeClaim{}},
			{Side: engine.Host, Object: &corev1.PersistentVolumeClaim{}},
			{Side: engine.Virtual, Object: &corev1.PersistentVolume{}, Keys: claimOfMirror},
			{Side: engine.Host, Object: &corev1.PersistentVolume{}, Unfiltered: true, Keys: claimOfVolume},
			hostquota.Trigger(notYetThere),
		},
		Indexes: []engine.Index{
			{Side: engine.Host, Object: &corev1.PersistentVolume{}, Field: indexClaim, Values: hostClaimOf},
		},
		Reconcile: reconcile,
	}
}

// notYetThere are the claims of a namespace that have never had a host claim.
func notYetThere(scope *engine.Scope, tenantNamespace string) []engine.Key {
	claims := &corev1.PersistentVolumeClaimList{}
	// A cache that is not filled yet has no claims: they come by themselves when it is.
	if scope.VirtualCache.List(context.Background(), claims, client.InNamespace(tenantNamespace), client.UnsafeDisableDeepCopy) != nil {
		return nil
	}
	var keys []engine.Key
	for index := range claims.Items {
		if !hasExisted(&claims.Items[index]) {
			keys = append(keys, engine.KeyOf(&claims.Items[index]))
		}
	}
	return keys
}

// claimOfMirror wakes a claim whose mirror has come.
func claimOfMirror(_ *engine.Scope, virtualObject client.Object) []engine.Key {
	virtualVolume, ok := virtualObject.(*corev1.PersistentVolume)
	if !ok || virtualVolume.Spec.ClaimRef == nil || virtualVolume.Labels[mapping.LabelMirror] != "true" {
		return nil
	}
	return []engine.Key{{Namespace: virtualVolume.Spec.ClaimRef.Namespace, Name: virtualVolume.Spec.ClaimRef.Name}}
}

func claimOfVolume(scope *engine.Scope, hostObject client.Object) []engine.Key {
	hostVolume, ok := hostObject.(*corev1.PersistentVolume)
	if !ok || hostVolume.Spec.ClaimRef == nil {
		return nil
	}
	namespace, ok := scope.TenantNamespace(hostVolume.Spec.ClaimRef.Namespace)
	if !ok {
		return nil
	}
	return []engine.Key{{Namespace: namespace, Name: hostVolume.Spec.ClaimRef.Name}}
}

func hostClaimOf(hostObject client.Object) []string {
	hostVolume, ok := hostObject.(*corev1.PersistentVolume)
	if !ok || hostVolume.Spec.ClaimRef == nil {
		return nil
	}
	claimRef := hostVolume.Spec.ClaimRef
	return []string{types.NamespacedName{Namespace: claimRef.Namespace, Name: claimRef.Name}.String()}
}

func reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	virtualClaim, err := get(ctx, scope.VirtualCache, key.NamespacedName(), &corev1.PersistentVolumeClaim{})
	if err != nil {
		return engine.Result{}, err
	}
	hostClaim, err := get(ctx, scope.HostCache, scope.HostKey(&corev1.PersistentVolumeClaim{}, key), &corev1.PersistentVolumeClaim{})
	if err != nil {
		return engine.Result{}, err
	}
	switch {
	case virtualClaim == nil && hostClaim == nil:
		return engine.Result{}, nil
	case virtualClaim == nil:
		return engine.Result{}, scope.DeleteOrphan(ctx, &corev1.PersistentVolumeClaim{}, hostClaim)
	case hostClaim != nil && !scope.IsCopy(hostClaim, virtualClaim):
		return engine.Result{RequeueAfter: retry}, scope.DeleteOrphan(ctx, &corev1.PersistentVolumeClaim{}, hostClaim)
	case hostClaim == nil && virtualClaim.DeletionTimestamp != nil:
		return engine.Result{}, nil
	case hostClaim == nil:
		return missing(ctx, scope, virtualClaim)
	}
	return engine.Result{}, update(ctx, scope, virtualClaim, hostClaim)
}

// missing is called for a claim that the cache shows no host claim of.
func missing(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim) (engine.Result, error) {
	if hasExisted(virtualClaim) {
		// Only the host's API server, not a cache, can say that it vanished.
		hostKey := scope.HostKey(virtualClaim, engine.KeyOf(virtualClaim))
		live, err := get(ctx, scope.HostClient, hostKey, &corev1.PersistentVolumeClaim{})
		if err != nil {
			return engine.Result{}, &engine.HostError{Action: fmt.Sprintf("get persistentvolumeclaim %q", hostKey), Err: err}
		}
		if live != nil && scope.IsCopy(live, virtualClaim) {
			return engine.Result{}, update(ctx, scope, virtualClaim, live)
		}
	}
	volumeName, isLost, err := restore(ctx, scope, virtualClaim)
	if err != nil {
		return engine.Result{}, err
	}
	if isLost {
		return engine.Result{}, lose(ctx, scope, virtualClaim,
			"the host claim or its volume is gone; it is not made again, since it would come back empty. Restore the data from a backup into a new claim, and delete this one")
	}
	hostClaim, err := create(ctx, scope, virtualClaim, volumeName)
	if errors.Is(err, engine.ErrPredecessor) {
		return engine.Result{RequeueAfter: retry}, scope.DeleteOrphan(ctx, &corev1.PersistentVolumeClaim{}, hostClaim)
	}
	if err != nil {
		return engine.Result{}, err
	}
	return engine.Result{}, update(ctx, scope, virtualClaim, hostClaim)
}

// restore decides what a claim without host claim gets: its old volume, a new one (volumeName is empty), or none, since
// there was one with data that is gone.
func restore(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim) (volumeName string, isLost bool, err error) {
	hostVolume, err := formerVolume(ctx, scope, virtualClaim)
	if err != nil {
		return "", false, err
	}
	if hostVolume != nil && isRestorable(hostVolume) {
		return hostVolume.Name, false, nil
	}
	if !hasExisted(virtualClaim) {
		return "", false, nil
	}
	if hostVolume != nil || wasBound(virtualClaim) {
		return "", true, nil
	}
	isUsed, err := isUsedOnHost(ctx, scope, virtualClaim)
	return "", isUsed, err
}

// create posts the host claim and puts its UID on the tenant claim: from now on its absence means that it vanished.
func create(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim, volumeName string) (*corev1.PersistentVolumeClaim, error) {
	spec, err := hostSpec(virtualClaim, volumeName)
	if err != nil {
		return nil, err
	}
	if volumeName == "" {
		if class := virtualClaim.Spec.StorageClassName; class != nil && *class != "" {
			if err := storageclass.Check(ctx, scope, *class); err != nil {
				return nil, err
			}
		}
		if err := checkClones(ctx, scope, virtualClaim); err != nil {
			return nil, err
		}
	}
	hostClaim := &corev1.PersistentVolumeClaim{ObjectMeta: hostMeta(scope, virtualClaim, nil), Spec: spec}
	return hostClaim, scope.CreateHost(ctx, virtualClaim, hostClaim)
}

// checkClones makes sure that the claims and snapshots to be cloned are the tenant's: the mapped namespace may hold some of others.
func checkClones(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim) error {
	claims, snapshots := sources(virtualClaim)
	for _, name := range snapshots {
		if err := customresource.CheckSnapshot(ctx, scope, engine.Key{Namespace: virtualClaim.Namespace, Name: name}); err != nil {
			return err
		}
	}
	for _, name := range claims {
		key := engine.Key{Namespace: virtualClaim.Namespace, Name: name}
		virtualSource, err := get(ctx, scope.VirtualCache, key.NamespacedName(), &corev1.PersistentVolumeClaim{})
		if err != nil {
			return err
		}
		hostSource, err := get(ctx, scope.HostCache, scope.HostKey(&corev1.PersistentVolumeClaim{}, key), &corev1.PersistentVolumeClaim{})
		if err != nil {
			return err
		}
		if virtualSource == nil || hostSource == nil || !scope.IsCopy(hostSource, virtualSource) {
			return engine.Refuse(engine.ReasonWaiting, "the claim %q that this claim is to be cloned from does not exist", name)
		}
	}
	return nil
}

// lose tells the tenant, once, that a claim's volume is gone.
func lose(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim, message string) error {
	if virtualClaim.Status.Phase == corev1.ClaimLost {
		return nil
	}
	err := engine.PatchVirtualStatus(ctx, scope, virtualClaim, func(virtualClaim *corev1.PersistentVolumeClaim) {
		virtualClaim.Status = lostStatus(virtualClaim)
	})
	if err != nil {
		return err
	}
	scope.Event(virtualClaim, corev1.EventTypeWarning, ReasonClaimLost, message)
	return nil
}

// hostMeta is the metadata of the host claim. With the tenant's own scheduler the chosen node goes down.
func hostMeta(scope *engine.Scope, virtualClaim, hostClaim *corev1.PersistentVolumeClaim) metav1.ObjectMeta {
	meta := scope.HostMeta(withoutSteering(virtualClaim))
	for key, value := range selectedNode(scope.Tenant.Spec.Scheduling, virtualClaim, hostClaim) {
		meta.Annotations[key] = value
	}
	return meta
}

// get returns nil for an object that does not exist.
func get[T client.Object](ctx context.Context, reader client.Reader, key client.ObjectKey, empty T) (T, error) {
	var none T
	if err := reader.Get(ctx, key, empty); err != nil {
		if apierrors.IsNotFound(err) {
			return none, nil
		}
		return none, fmt.Errorf("get %T %q: %w", empty, key, err)
	}
	return empty, nil
}
