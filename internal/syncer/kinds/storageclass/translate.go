package storageclass

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Annotations that make a class the default one.
const (
	annotationIsDefault     = "storageclass.kubernetes.io/is-default-class"
	annotationIsDefaultBeta = "storageclass.beta.kubernetes.io/is-default-class"
)

// translate is the mirror of a host class.
func translate(hostClass *storagev1.StorageClass) *storagev1.StorageClass {
	mirror := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:   hostClass.Name,
			Labels: map[string]string{mapping.LabelMirror: "true"},
		},
		Provisioner:          hostClass.Provisioner,
		ReclaimPolicy:        clone(hostClass.ReclaimPolicy),
		VolumeBindingMode:    clone(hostClass.VolumeBindingMode),
		AllowVolumeExpansion: clone(hostClass.AllowVolumeExpansion),
	}
	for i := range hostClass.AllowedTopologies {
		mirror.AllowedTopologies = append(mirror.AllowedTopologies, *hostClass.AllowedTopologies[i].DeepCopy())
	}
	if isDefault(hostClass) {
		mirror.Annotations = map[string]string{annotationIsDefault: "true"}
	}
	return mirror
}

func isDefault(class *storagev1.StorageClass) bool {
	return class.Annotations[annotationIsDefault] == "true" || class.Annotations[annotationIsDefaultBeta] == "true"
}

// isMirror tells whether a tenant object is the agent's to write.
func isMirror(virtualClass *storagev1.StorageClass) bool {
	return virtualClass.Labels[mapping.LabelMirror] == "true"
}

// needsReplacement tells whether a mirror differs in a field that the API does not let anybody change.
func needsReplacement(have, want *storagev1.StorageClass) bool {
	return have.Provisioner != want.Provisioner || len(have.Parameters) > 0 ||
		!equality.Semantic.DeepEqual(have.ReclaimPolicy, want.ReclaimPolicy) ||
		!equality.Semantic.DeepEqual(have.VolumeBindingMode, want.VolumeBindingMode)
}

// repair returns the mirror as it should be and whether that is a change. It writes the fields that are ours and leaves
// labels and annotations of the tenant's own, which mean nothing to anybody else.
func repair(have, want *storagev1.StorageClass) (repaired *storagev1.StorageClass, changed bool) {
	repaired = have.DeepCopy()
	repaired.AllowVolumeExpansion = want.AllowVolumeExpansion
	repaired.AllowedTopologies = want.AllowedTopologies
	repaired.MountOptions = nil
	delete(repaired.Annotations, annotationIsDefaultBeta)
	delete(repaired.Annotations, annotationIsDefault)
	if isDefault(want) {
		metav1.SetMetaDataAnnotation(&repaired.ObjectMeta, annotationIsDefault, "true")
	}
	return repaired, !equality.Semantic.DeepEqual(have, repaired)
}

func clone[T any](value *T) *T {
	if value == nil {
		return nil
	}
	copied := *value
	return &copied
}
