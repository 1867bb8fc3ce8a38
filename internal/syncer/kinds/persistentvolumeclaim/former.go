package persistentvolumeclaim

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// AnnotationHostVolumeUID is, on a tenant claim, the UID of the host volume that it was bound to. A claim whose host
// copy vanished is bound again to that volume and to no other.
const AnnotationHostVolumeUID = "matryoshka.dev/host-volume-uid"

// mark is one of the agent's annotations on a tenant claim. Marks count only together with the claim's own UID beside them:
// a claim that a backup tool made again brings the annotations of the old one along.
func mark(virtualClaim *corev1.PersistentVolumeClaim, annotation string) types.UID {
	if virtualClaim.Annotations[mapping.AnnotationTenantUID] != string(virtualClaim.UID) {
		return ""
	}
	return types.UID(virtualClaim.Annotations[annotation])
}

// hasExisted tells whether a tenant claim had a host claim, so that data may be behind it.
func hasExisted(virtualClaim *corev1.PersistentVolumeClaim) bool {
	return mark(virtualClaim, mapping.AnnotationHostUID) != "" || wasBound(virtualClaim)
}

// wasBound tells whether a tenant claim has been bound to a volume. Its phase counts too, which a tenant cannot take
// back without being the owner of its own control plane.
func wasBound(virtualClaim *corev1.PersistentVolumeClaim) bool {
	return mark(virtualClaim, AnnotationHostVolumeUID) != "" ||
		virtualClaim.Status.Phase == corev1.ClaimBound || virtualClaim.Status.Phase == corev1.ClaimLost
}

// formerVolume is the host volume that a claim was bound to, nil for none. The volume itself must name the claim: a
// tenant can write what it likes into its own objects, but not into the host's volumes.
func formerVolume(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	hostKey := scope.HostKey(virtualClaim, engine.KeyOf(virtualClaim))
	hostVolumes := &corev1.PersistentVolumeList{}
	if err := scope.HostCache.List(ctx, hostVolumes, client.MatchingFields{indexClaim: hostKey.String()}); err != nil {
		return nil, fmt.Errorf("list host volumes of claim %q: %w", engine.KeyOf(virtualClaim), err)
	}
	for i := range hostVolumes.Items {
		if wasVolumeOf(&hostVolumes.Items[i], virtualClaim) {
			return &hostVolumes.Items[i], nil
		}
	}
	return nil, nil
}

// wasVolumeOf tells whether a host volume whose claimRef has the name of a claim is the one that this claim had.
func wasVolumeOf(hostVolume *corev1.PersistentVolume, virtualClaim *corev1.PersistentVolumeClaim) bool {
	if volumeUID := mark(virtualClaim, AnnotationHostVolumeUID); volumeUID != "" {
		return hostVolume.UID == volumeUID
	}
	if claimUID := mark(virtualClaim, mapping.AnnotationHostUID); claimUID != "" {
		// It was bound on the host, and that was not told to the tenant any more.
		return hostVolume.Spec.ClaimRef.UID == claimUID
	}
	// A new claim names a volume that an earlier claim of its name left behind.
	return virtualClaim.Spec.VolumeName == hostVolume.Name
}

// isRestorable tells whether a volume keeps its data without its claim.
func isRestorable(hostVolume *corev1.PersistentVolume) bool {
	return hostVolume.DeletionTimestamp == nil && hostVolume.Status.Phase != corev1.VolumeFailed &&
		hostVolume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain
}

// freeVolume takes the UID of a claim that is gone out of a volume, so that the host binds the claim of that name to it.
func freeVolume(ctx context.Context, scope *engine.Scope, hostVolume *corev1.PersistentVolume, hostClaimUID types.UID) error {
	claimRef := hostVolume.Spec.ClaimRef
	if claimRef == nil || claimRef.UID == "" || claimRef.UID == hostClaimUID {
		return nil
	}
	freed := hostVolume.DeepCopy()
	freed.Spec.ClaimRef.UID = ""
	freed.Spec.ClaimRef.ResourceVersion = ""
	patch := client.MergeFromWithOptions(hostVolume, client.MergeFromWithOptimisticLock{})
	if err := scope.HostClient.Patch(ctx, freed, patch); err != nil {
		return &engine.HostError{Action: fmt.Sprintf("free persistentvolume %q", hostVolume.Name), Err: err}
	}
	return nil
}

// isUsedOnHost tells whether a host pod that was given a node uses the claim: it may have written to a volume of which
// the agent never saw that it was bound.
func isUsedOnHost(ctx context.Context, scope *engine.Scope, virtualClaim *corev1.PersistentVolumeClaim) (bool, error) {
	hostKey := scope.HostKey(virtualClaim, engine.KeyOf(virtualClaim))
	hostPods := &corev1.PodList{}
	if err := scope.HostCache.List(ctx, hostPods, client.InNamespace(hostKey.Namespace)); err != nil {
		return false, fmt.Errorf("list host pods of claim %q: %w", engine.KeyOf(virtualClaim), err)
	}
	for i := range hostPods.Items {
		if hostPods.Items[i].Spec.NodeName != "" && mounts(&hostPods.Items[i], hostKey.Name) {
			return true, nil
		}
	}
	return false, nil
}

func mounts(hostPod *corev1.Pod, hostClaimName string) bool {
	for _, volume := range hostPod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil && volume.PersistentVolumeClaim.ClaimName == hostClaimName {
			return true
		}
	}
	return false
}
