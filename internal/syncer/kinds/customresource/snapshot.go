package customresource

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
)

// ReasonSnapshotLost is the reason of the event on a VolumeSnapshot that the host has no longer.
const ReasonSnapshotLost = "SnapshotLost"

// annotationDefaultSnapshotClass marks the class that a snapshot without one gets.
const annotationDefaultSnapshotClass = "snapshot.storage.kubernetes.io/is-default-class"

// translateSnapshot lets a snapshot be taken of the tenant's own claims, with classes that are offered.
func translateSnapshot(ctx context.Context, t translating) error {
	spec := fieldsOf(t.content, "spec")
	source := fieldsOf(spec, "source")
	if source["volumeSnapshotContentName"] != nil {
		return engine.Refuse(engine.ReasonNotSupported, "spec.source.volumeSnapshotContentName names a snapshot of the host, which may be anybody's; name a claim in spec.source.persistentVolumeClaimName")
	}
	mark, err := fingerprint(t.content)
	if err != nil {
		return err
	}
	if t.pair.HasHost && t.pair.Host.GetAnnotations()[mapping.AnnotationContent] == mark {
		return nil // the host has it as it is, and what it was taken of may be gone since
	}
	if err := checkSnapshotClass(ctx, t.scope, spec["volumeSnapshotClassName"]); err != nil {
		return err
	}
	name, _ := source["persistentVolumeClaimName"].(string)
	return checkClaim(ctx, t.scope, t.beside(name))
}

func checkSnapshotClass(ctx context.Context, scope *engine.Scope, name any) error {
	typed, dynamic, ok := scope.Dynamic(snapshotClasses)
	if !ok {
		return engine.Refuse(engine.ReasonWaiting, "the host's VolumeSnapshotClasses are not known yet")
	}
	if name == nil {
		return checkDefaultClass(ctx, typed, dynamic)
	}
	key := client.ObjectKey{Name: fmt.Sprint(name)}
	hostClass, exists, err := engine.Get(ctx, typed.HostCache, key, dynamic.Empty())
	if err != nil {
		return err
	}
	if !exists || !mirror.IsOffered(hostClass, false) {
		return engine.Refuse(engine.ReasonNotSupported, "the host offers no VolumeSnapshotClass %q; choose one of those that `kubectl get volumesnapshotclasses` shows with the label of a mirror", key.Name)
	}
	return nil
}

// checkDefaultClass refuses to leave the choice to the host where that could be a class that is not offered.
func checkDefaultClass(ctx context.Context, typed *engine.Scope, dynamic engine.Dynamic) error {
	list := listOf(dynamic)
	if err := typed.HostCache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list VolumeSnapshotClasses of the host: %w", err)
	}
	for index := range list.Items {
		hostClass := &list.Items[index]
		if hostClass.GetAnnotations()[annotationDefaultSnapshotClass] == "true" && !mirror.IsOffered(hostClass, false) {
			return engine.Refuse(engine.ReasonNotSupported, "spec.volumeSnapshotClassName is not set, and the host's default is not offered; choose one of those that `kubectl get volumesnapshotclasses` shows")
		}
	}
	return nil
}

// checkClaim makes sure that a claim is the tenant's: the mapped namespace may hold claims of others.
func checkClaim(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	claim := &corev1.PersistentVolumeClaim{}
	virtualClaim, isInTenant, err := engine.Get(ctx, scope.VirtualCache, key.NamespacedName(), claim)
	if err != nil {
		return err
	}
	hostClaim, isOnHost, err := engine.Get(ctx, scope.HostCache, scope.HostKey(claim, key), &corev1.PersistentVolumeClaim{})
	if err != nil {
		return err
	}
	if !isInTenant || !isOnHost || !scope.IsCopy(hostClaim, virtualClaim) {
		return engine.Refuse(engine.ReasonWaiting, "the claim %q that the snapshot is to be taken of does not exist", key.Name)
	}
	return nil
}

// isBound tells whether the host has taken a snapshot: another one would have another content.
func isBound(status map[string]any) bool {
	name, _ := status["boundVolumeSnapshotContentName"].(string)
	return name != ""
}

// checkNotMade keeps an object from being made a second time that can be made only once, and tells that it is lost.
func checkNotMade(ctx context.Context, t translating) error {
	if t.known.builtIn.isMadeOnce == nil {
		return nil
	}
	if t.pair.HasHost && !t.typed.IsCopy(t.pair.Host, t.pair.Virtual) {
		// That of an earlier object of the name has other data, too; it goes first.
		return errors.Join(engine.ErrPredecessor, t.pair.RemoveOrphan(ctx, t.typed, t.known.dynamic.Empty()))
	}
	if t.pair.HasHost || !t.known.builtIn.isMadeOnce(fieldsOf(t.pair.Virtual.Object, "status")) {
		return nil
	}
	// Only the host's API server, not a cache, can say that it vanished.
	empty := t.known.dynamic.Empty()
	_, exists, err := engine.Get(ctx, t.typed.HostClient, t.typed.HostKey(empty, t.key()), empty)
	if err != nil || exists {
		return err
	}
	const message = "the host has it no longer, and one that is made now would hold other data; delete it and take another"
	err = engine.PatchVirtualStatus(ctx, t.typed, t.pair.Virtual, func(virtualObject *unstructured.Unstructured) {
		status := fieldsOf(virtualObject.Object, "status")
		status["readyToUse"], status["error"] = false, map[string]any{"message": message}
	})
	if err != nil {
		return err
	}
	return engine.Refuse(ReasonSnapshotLost, message)
}

// makeOnce makes the copy of an object that can be made only once. Of an earlier object of the name, which the cache does not show
// yet, there may still be one: it is not taken over, since it has other data, and goes first.
func makeOnce(ctx context.Context, t translating, desired *unstructured.Unstructured) error {
	err := t.typed.CreateHost(ctx, t.pair.Virtual, desired)
	if errors.Is(err, engine.ErrPredecessor) {
		return errors.Join(err, t.typed.DeleteOrphan(ctx, t.known.dynamic.Empty(), desired))
	}
	return err
}

// CheckSnapshot makes sure that a VolumeSnapshot on the host is the tenant's.
func CheckSnapshot(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	typed, dynamic, ok := scope.Dynamic(snapshots)
	if !ok {
		return engine.Refuse(engine.ReasonNotSupported, "VolumeSnapshots are not kept in step with the host; name %s in spec.sync.customResources of the VirtualCluster", snapshots)
	}
	pair, err := hostcopy.Read(ctx, typed, key, dynamic.Empty)
	if err != nil {
		return err
	}
	if !pair.HasVirtual || !pair.HasHost || !typed.IsCopy(pair.Host, pair.Virtual) {
		return engine.Refuse(engine.ReasonWaiting, "the VolumeSnapshot %q does not exist", key.Name)
	}
	return nil
}
