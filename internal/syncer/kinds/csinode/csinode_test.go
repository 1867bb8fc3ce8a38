package csinode

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMirror(t *testing.T) {
	hostNode := &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{Name: "worker", Annotations: map[string]string{annotationMigrated: "kubernetes.io/aws-ebs", "other": "x"}},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{
			Name: "disk.example.com", NodeID: "i-0123456789", TopologyKeys: []string{"zone"}, Allocatable: &storagev1.VolumeNodeResources{Count: new(int32(5))},
		}}},
	}
	want := translate(hostNode)
	if diff := cmp.Diff(&storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotationMigrated: "kubernetes.io/aws-ebs"}},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{
			Name: "disk.example.com", NodeID: "worker", TopologyKeys: []string{"zone"}, Allocatable: &storagev1.VolumeNodeResources{Count: new(int32(5))},
		}}},
	}, want); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
	if hostNode.Spec.Drivers[0].NodeID != "i-0123456789" {
		t.Error("the host's object was changed")
	}
	edited := want.DeepCopy()
	edited.Annotations = nil
	edited.Spec.Drivers[0].Allocatable = nil
	edited.Spec.Drivers = append(edited.Spec.Drivers, storagev1.CSINodeDriver{Name: "mine", NodeID: "x"})
	if needsReplacement(edited, want) {
		t.Error("what can be changed back needs no replacement")
	}
	repair(edited, want)
	if diff := cmp.Diff(want, edited); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	edited.Spec.Drivers[0].TopologyKeys = nil
	if !needsReplacement(edited, want) {
		t.Error("other topology keys can not be repaired")
	}
}
