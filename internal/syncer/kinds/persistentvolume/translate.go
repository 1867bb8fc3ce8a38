package persistentvolume

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Driver is the CSI driver that mirrors name. No node has it: a mirror cannot be mounted, only be bound to.
const Driver = "host.matryoshka.dev"

// Claim is the tenant claim that a volume is bound to.
type Claim struct {
	Namespace string
	Name      string
	// UID of the tenant's claim; empty when that claim is gone.
	UID types.UID
}

// Translate is the mirror of a host volume that a claim of the tenant is, or was, bound to. Its status is a matter of
// its own; see status.
func Translate(hostVolume *corev1.PersistentVolume, claim Claim) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        hostVolume.Name,
			Labels:      map[string]string{mapping.LabelMirror: "true"},
			Annotations: map[string]string{mapping.AnnotationHostUID: string(hostVolume.UID)},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: hostVolume.Spec.Capacity[corev1.ResourceStorage]},
			AccessModes: slices.Clone(hostVolume.Spec.AccessModes),
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: Driver, VolumeHandle: hostVolume.Name},
			},
			ClaimRef: &corev1.ObjectReference{
				Kind:       "PersistentVolumeClaim",
				APIVersion: "v1",
				Namespace:  claim.Namespace,
				Name:       claim.Name,
				UID:        claim.UID,
			},
			PersistentVolumeReclaimPolicy: hostVolume.Spec.PersistentVolumeReclaimPolicy,
			StorageClassName:              hostVolume.Spec.StorageClassName,
			VolumeMode:                    clone(hostVolume.Spec.VolumeMode),
			NodeAffinity:                  hostVolume.Spec.NodeAffinity.DeepCopy(),
		},
	}
}

// IsMirror tells whether a tenant volume is the agent's to write.
func IsMirror(virtualVolume *corev1.PersistentVolume) bool {
	return virtualVolume.Labels[mapping.LabelMirror] == "true"
}

// tenantUID is the UID of the tenant claim that a host claim is the copy of.
func tenantUID(hostClaim *corev1.PersistentVolumeClaim) types.UID {
	return types.UID(hostClaim.Annotations[mapping.AnnotationTenantUID])
}

// needsReplacement tells whether a mirror differs in a field that the API does not let anybody change.
func needsReplacement(have, want *corev1.PersistentVolume) bool {
	return have.Annotations[mapping.AnnotationHostUID] != want.Annotations[mapping.AnnotationHostUID] ||
		!equality.Semantic.DeepEqual(have.Spec.PersistentVolumeSource, want.Spec.PersistentVolumeSource) ||
		!equality.Semantic.DeepEqual(have.Spec.VolumeMode, want.Spec.VolumeMode)
}

// repair returns the mirror as it should be and whether that is a change. Labels and annotations that the tenant added
// stay; they mean nothing to anybody else.
func repair(have, want *corev1.PersistentVolume) (repaired *corev1.PersistentVolume, changed bool) {
	repaired = have.DeepCopy()
	repaired.Spec = *want.Spec.DeepCopy()
	repaired.Spec.PersistentVolumeSource = have.Spec.PersistentVolumeSource
	repaired.Spec.VolumeAttributesClassName = have.Spec.VolumeAttributesClassName
	repaired.Spec.ClaimRef = mergeClaim(have.Spec.ClaimRef, want.Spec.ClaimRef)
	return repaired, !equality.Semantic.DeepEqual(have, repaired)
}

// mergeClaim keeps the details of a reference to the right claim, which the tenant's API server may have filled in.
func mergeClaim(have, want *corev1.ObjectReference) *corev1.ObjectReference {
	if have == nil || have.Namespace != want.Namespace || have.Name != want.Name {
		return want
	}
	merged := have.DeepCopy()
	if want.UID != "" {
		merged.UID = want.UID
	}
	return merged
}

// status is the status of a mirror. A host volume that is being deleted keeps its phase.
func status(hostVolume, virtualVolume *corev1.PersistentVolume) corev1.PersistentVolumeStatus {
	status := *virtualVolume.Status.DeepCopy()
	status.Phase = hostVolume.Status.Phase
	status.Reason = ""
	status.Message = "" // it names the host's volumes and servers
	return status
}

func clone[T any](value *T) *T {
	if value == nil {
		return nil
	}
	copied := *value
	return &copied
}
