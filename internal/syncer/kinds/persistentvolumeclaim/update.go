package persistentvolumeclaim

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolume"
)

// update brings a tenant claim and its host claim together.
func update(ctx context.Context, scope *engine.Scope, virtualClaim, hostClaim *corev1.PersistentVolumeClaim) error {
	hostClaim, err := pushDown(ctx, scope, virtualClaim, hostClaim)
	if err != nil {
		return err
	}
	if hostClaim.Status.Phase == corev1.ClaimLost {
		return lose(ctx, scope, virtualClaim, "the volume of this claim is gone. Restore the data from a backup into a new claim, and delete this one")
	}
	hostVolume, err := volumeOf(ctx, scope, hostClaim)
	if err != nil {
		return err
	}
	if hostVolume != nil && isOther(virtualClaim, hostVolume) {
		return lose(ctx, scope, virtualClaim, "the host has bound this claim to another volume than the one that it had. Restore the data from a backup into a new claim, and delete this one")
	}
	hasMirror, err := mirrorIsReady(ctx, scope, virtualClaim, hostVolume)
	if err != nil {
		return err
	}
	virtualClaim, err = pullMetadata(ctx, scope, virtualClaim, hostClaim, hostVolume, hasMirror)
	if err != nil {
		return err
	}
	return engine.PatchVirtualStatus(ctx, scope, virtualClaim, func(virtualClaim *corev1.PersistentVolumeClaim) {
		virtualClaim.Status = virtualStatus(virtualClaim, hostClaim, hasMirror, scope.Redact)
	})
}

// pushDown writes to the host what a tenant may change: metadata, the size, the node that its scheduler chose. It also
// lets the host bind a claim that was made again for its old volume.
func pushDown(ctx context.Context, scope *engine.Scope, virtualClaim, hostClaim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
	if hostClaim.DeletionTimestamp != nil {
		return hostClaim, nil
	}
	if hostClaim.Spec.VolumeName != "" && hostClaim.Status.Phase == corev1.ClaimPending {
		hostVolume, err := formerVolume(ctx, scope, virtualClaim)
		if err != nil {
			return nil, err
		}
		if hostVolume != nil && hostVolume.Name == hostClaim.Spec.VolumeName {
			if err := freeVolume(ctx, scope, hostVolume, hostClaim.UID); err != nil {
				return nil, err
			}
		}
	}
	meta := hostMeta(scope, virtualClaim, hostClaim)
	return engine.UpdateHost(ctx, scope, hostClaim, func(hostClaim *corev1.PersistentVolumeClaim) {
		engine.SetHostMeta(hostClaim, meta)
		if virtualClaim.Annotations[annotationSelectedNode] == "" {
			delete(hostClaim.Annotations, annotationSentNode)
		}
		grow(hostClaim, virtualClaim)
	})
}

// volumeOf is the host volume that a host claim is bound to, nil if it is not, or if the cache does not show it yet.
func volumeOf(ctx context.Context, scope *engine.Scope, hostClaim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	if hostClaim.Status.Phase != corev1.ClaimBound || hostClaim.Spec.VolumeName == "" {
		return nil, nil
	}
	hostVolume, err := get(ctx, scope.HostCache, client.ObjectKey{Name: hostClaim.Spec.VolumeName}, &corev1.PersistentVolume{})
	if err != nil || hostVolume == nil {
		return nil, err
	}
	if hostVolume.Spec.ClaimRef == nil || hostVolume.Spec.ClaimRef.UID != hostClaim.UID {
		return nil, nil
	}
	return hostVolume, nil
}

// isOther tells whether a host volume is not the one that a tenant claim has been bound to.
func isOther(virtualClaim *corev1.PersistentVolumeClaim, hostVolume *corev1.PersistentVolume) bool {
	if name := virtualClaim.Spec.VolumeName; name != "" && name != hostVolume.Name {
		return true
	}
	uid := mark(virtualClaim, AnnotationHostVolumeUID)
	return uid != "" && uid != hostVolume.UID
}

// mirrorIsReady tells whether the tenant has the mirror of a volume, for this very claim; else it asks for it. The
// volume comes first, or the tenant would see a claim that is bound to nothing.
func mirrorIsReady(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim, hostVolume *corev1.PersistentVolume) (bool, error) {
	if hostVolume == nil {
		return false, nil
	}
	mirror, err := get(ctx, scope.VirtualCache, client.ObjectKey{Name: hostVolume.Name}, &corev1.PersistentVolume{})
	if err != nil {
		return false, err
	}
	if mirror == nil || !persistentvolume.IsMirror(mirror) || mirror.DeletionTimestamp != nil ||
		mirror.Spec.ClaimRef == nil || mirror.Spec.ClaimRef.UID != virtualClaim.UID ||
		mirror.Annotations[mapping.AnnotationHostUID] != string(hostVolume.UID) {
		scope.Enqueue(persistentvolume.Name, engine.Key{Name: hostVolume.Name})
		return false, nil
	}
	return true, nil
}

// pullMetadata puts on the tenant claim that its host claim exists, what it is bound to, and that a chosen node was no use.
func pullMetadata(ctx context.Context, scope *engine.Scope, virtualClaim, hostClaim *corev1.PersistentVolumeClaim,
	hostVolume *corev1.PersistentVolume, hasMirror bool,
) (*corev1.PersistentVolumeClaim, error) {
	updated := virtualClaim.DeepCopy()
	if mark(updated, mapping.AnnotationHostUID) == "" {
		delete(updated.Annotations, AnnotationHostVolumeUID) // of another claim
	}
	metav1.SetMetaDataAnnotation(&updated.ObjectMeta, mapping.AnnotationTenantUID, string(virtualClaim.UID))
	metav1.SetMetaDataAnnotation(&updated.ObjectMeta, mapping.AnnotationHostUID, string(hostClaim.UID))
	if isNodeRejected(virtualClaim, hostClaim) {
		delete(updated.Annotations, annotationSelectedNode)
	}
	if hasMirror {
		bind(updated, hostClaim, hostVolume)
	}
	if equality.Semantic.DeepEqual(virtualClaim, updated) {
		return virtualClaim, nil
	}
	patch := client.MergeFromWithOptions(virtualClaim, client.MergeFromWithOptimisticLock{})
	if err := scope.VirtualClient.Patch(ctx, updated, patch); err != nil {
		return nil, fmt.Errorf("patch persistentvolumeclaim %q: %w", engine.KeyOf(virtualClaim), err)
	}
	return updated, nil
}
