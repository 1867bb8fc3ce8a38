package controllers

import (
	"slices"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

// hostOwned are the controllers whose work is the host's: in the tenant, nodes are mirrors and volumes are bound by
// the sync. Running them would taint mirrored nodes, hand out pod ranges or attach volumes a second time.
// ("ttl" writes an annotation on every node; it is not ttl-after-finished.)
var hostOwned = []string{
	names.NodeLifecycleController,
	names.NodeIpamController,
	names.TTLController,
	names.PersistentVolumeBinderController,
	names.PersistentVolumeAttachDetachController,
	names.PersistentVolumeExpanderController,
}

// builtHere are the controllers that this package builds itself; see newPolicyStatus. (The token controller's descriptor
// carries a client that only upstream's own main function can set, and marks itself as special for that.)
var builtHere = []string{names.ValidatingAdmissionPolicyStatusController}

// selected returns upstream's descriptors without those of the host and those that are built here.
func selected() map[string]*app.ControllerDescriptor {
	descriptors := app.NewControllerDescriptors()
	for name, descriptor := range descriptors {
		if descriptor.RequiresSpecialHandling() || descriptor.IsDisabledByDefault() ||
			descriptor.IsCloudProviderController() || slices.Contains(hostOwned, name) || slices.Contains(builtHere, name) {
			delete(descriptors, name)
		}
	}
	return descriptors
}
