package csidriver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
)

func TestMirror(t *testing.T) {
	hostDriver := &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{
		AttachRequired: new(true), StorageCapacity: new(true), RequiresRepublish: new(true), NodeAllocatableUpdatePeriodSeconds: new(int64(60)),
		VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
		TokenRequests:        []storagev1.TokenRequest{{Audience: "vault.bank"}}, ServiceAccountTokenInSecrets: new(true),
	}}
	want := translate(hostDriver)
	if diff := cmp.Diff(&storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{
		AttachRequired: new(true), StorageCapacity: new(true), RequiresRepublish: new(false),
		VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
	}}, want); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
	edited := want.DeepCopy()
	edited.Spec.StorageCapacity, edited.Spec.TokenRequests = nil, hostDriver.Spec.TokenRequests
	if needsReplacement(edited, want) {
		t.Error("what can be changed back needs no replacement")
	}
	repair(edited, want)
	if diff := cmp.Diff(want, edited); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	for name, change := range map[string]func(*storagev1.CSIDriver){
		"attach": func(driver *storagev1.CSIDriver) { driver.Spec.AttachRequired = new(false) },
		"modes": func(driver *storagev1.CSIDriver) {
			driver.Spec.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecycleEphemeral}
		},
	} {
		changed := want.DeepCopy()
		change(changed)
		if !needsReplacement(changed, want) {
			t.Errorf("another %s can not be repaired", name)
		}
	}
}
