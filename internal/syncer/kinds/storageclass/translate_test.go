package storageclass

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func pointer[T any](value T) *T { return &value }

func hostClass() *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name: "fast", UID: "host-uid",
			Labels:      map[string]string{"operator": "secret-team"},
			Annotations: map[string]string{annotationIsDefaultBeta: "true", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
		},
		Provisioner:          "disk.example.com",
		Parameters:           map[string]string{"csi.storage.k8s.io/provisioner-secret-name": "root", "pool": "gold"},
		MountOptions:         []string{"password=x"},
		ReclaimPolicy:        pointer(corev1.PersistentVolumeReclaimRetain),
		VolumeBindingMode:    pointer(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: pointer(true),
		AllowedTopologies:    []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: "zone", Values: []string{"a"}}}}},
	}
}

func TestTranslateLeavesTheHostsSecretsOut(t *testing.T) {
	want := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Annotations: map[string]string{annotationIsDefault: "true"},
		},
		Provisioner:          "disk.example.com",
		ReclaimPolicy:        pointer(corev1.PersistentVolumeReclaimRetain),
		VolumeBindingMode:    pointer(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: pointer(true),
		AllowedTopologies:    hostClass().AllowedTopologies,
	}
	if diff := cmp.Diff(want, translate(hostClass())); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
}

func TestRepairPutsTenantEditsBack(t *testing.T) {
	want := translate(hostClass())
	have := want.DeepCopy()
	have.Labels = map[string]string{"mine": "yes"}
	edited := have.DeepCopy()
	edited.AllowVolumeExpansion = pointer(false)
	edited.MountOptions = []string{"noatime"}
	edited.AllowedTopologies = nil
	edited.Annotations[annotationIsDefault] = "false"
	edited.Annotations[annotationIsDefaultBeta] = "true"

	repair(edited, want)
	if diff := cmp.Diff(have, edited); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
}

func TestNeedsReplacement(t *testing.T) {
	want := translate(hostClass())
	cases := map[string]struct {
		change func(*storagev1.StorageClass)
		want   bool
	}{
		"same":        {func(*storagev1.StorageClass) {}, false},
		"expansion":   {func(class *storagev1.StorageClass) { class.AllowVolumeExpansion = nil }, false},
		"provisioner": {func(class *storagev1.StorageClass) { class.Provisioner = "other" }, true},
		"parameters":  {func(class *storagev1.StorageClass) { class.Parameters = map[string]string{"a": "b"} }, true},
		"reclaim policy": {func(class *storagev1.StorageClass) {
			class.ReclaimPolicy = pointer(corev1.PersistentVolumeReclaimDelete)
		}, true},
		"binding mode": {func(class *storagev1.StorageClass) {
			class.VolumeBindingMode = pointer(storagev1.VolumeBindingImmediate)
		}, true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			have := want.DeepCopy()
			test.change(have)
			if got := needsReplacement(have, want); got != test.want {
				t.Errorf("needsReplacement = %v, want %v", got, test.want)
			}
		})
	}
}
