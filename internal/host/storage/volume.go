package storage

import (
	"fmt"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// provisionedBy is the annotation by which everybody knows whose volume it is.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// unsupported says what the claim asks for that a folder cannot give; empty when there is nothing.
func unsupported(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock {
		return "spec.volumeMode: Block is not supported by local folders; use Filesystem"
	}
	if claim.Spec.Selector != nil {
		return "spec.selector: a volume that is made for a claim cannot be selected; remove the selector"
	}
	if source := claim.Spec.DataSourceRef; source != nil {
		return fmt.Sprintf("spec.dataSourceRef: %s %q cannot be copied by local folders; remove the data source", source.Kind, source.Name)
	}
	if claim.Spec.DataSource != nil {
		return fmt.Sprintf("spec.dataSource: %s %q cannot be copied by local folders; remove the data source", claim.Spec.DataSource.Kind, claim.Spec.DataSource.Name)
	}
	return ""
}

// newVolume is the volume of a claim. Its name follows from the claim's UID, so that a second try makes no second volume.
func newVolume(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, folder, nodeName string) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	mode := corev1.PersistentVolumeFilesystem
	policy := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{provisionedBy: provisionerName},
			Finalizers:  []string{finalizer},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              class.Name,
			VolumeMode:                    &mode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: filepath.Join(folder, name)}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{nodeName},
					}},
				}},
			}},
		},
	}
}

// isOurs checks the path too: annotations can be written by others, and what lies at the path may be removed.
func isOurs(volume *corev1.PersistentVolume, folder string) bool {
	return volume.Annotations[provisionedBy] == provisionerName &&
		volume.Spec.Local != nil && volume.Spec.Local.Path == filepath.Join(folder, volume.Name)
}

// isReclaimable says whether nothing uses the volume and it is to go.
func isReclaimable(volume *corev1.PersistentVolume) bool {
	if volume.DeletionTimestamp != nil {
		// The protection of bound volumes is a finalizer of its own; it goes when the claim is gone.
		return slices.Contains(volume.Finalizers, finalizer) && !slices.Contains(volume.Finalizers, "kubernetes.io/pv-protection")
	}
	return volume.Status.Phase == corev1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
}

func withoutFinalizer(finalizers []string) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(f string) bool { return f == finalizer })
}
