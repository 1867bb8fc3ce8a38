package storageclass

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations that make a class the default one.
const (
	annotationIsDefault     = "storageclass.kubernetes.io/is-default-class"
	annotationIsDefaultBeta = "storageclass.beta.kubernetes.io/is-default-class"
)

// translate is the mirror of a host class.
func translate(hostClass *storagev1.StorageClass) *storagev1.StorageClass {
	mirror := &storagev1.StorageClass{
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

// needsReplacement tells whether a mirror differs in a field that the API does not let anybody change.
func needsReplacement(have, want *storagev1.StorageClass) bool {
	return have.Provisioner != want.Provisioner || len(have.Parameters) > 0 ||
		!equality.Semantic.DeepEqual(have.ReclaimPolicy, want.ReclaimPolicy) ||
		!equality.Semantic.DeepEqual(have.VolumeBindingMode, want.VolumeBindingMode)
}

// repair makes the fields that are ours, and can be changed, what they should be.
func repair(have, want *storagev1.StorageClass) {
	have.AllowVolumeExpansion = want.AllowVolumeExpansion
	have.AllowedTopologies = want.AllowedTopologies
	have.MountOptions = nil
	delete(have.Annotations, annotationIsDefaultBeta)
	delete(have.Annotations, annotationIsDefault)
	if isDefault(want) {
		metav1.SetMetaDataAnnotation(&have.ObjectMeta, annotationIsDefault, "true")
	}
}

func clone[T any](value *T) *T {
	if value == nil {
		return nil
	}
	copied := *value
	return &copied
}
