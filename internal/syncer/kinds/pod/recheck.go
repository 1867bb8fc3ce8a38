package pod

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

const (
	// recheckAfter is how long a pod may take to start before it is suspected that something that it mounts is missing.
	recheckAfter = 15 * time.Second
	// recheckEvery is how often that is looked at, and how often a stuck pod comes again.
	recheckEvery = 30 * time.Second
)

// recheck looks at what a pod mounts when its containers do not start. Host copies of ConfigMaps and Secrets are not
// watched; if somebody removed one, the host's kubelet waits for it, and this brings it back. It returns when to look
// again; 0 means that the pod has started.
func (k *kind) recheck(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) (time.Duration, error) {
	key := engine.KeyOf(virtualPod)
	if !isStarting(hostPod) {
		k.marks.clearRecheck(scope.Tenant.UID, key)
		return 0, nil
	}
	if wait := recheckAfter - k.now().Sub(hostPod.CreationTimestamp.Time); wait > 0 {
		return wait, nil
	}
	if !k.marks.mayRecheck(scope.Tenant.UID, key, k.now()) {
		return recheckEvery, nil
	}
	found := referencesOf(virtualPod)
	for _, ref := range found.configMaps {
		k.configMaps.Doubt(scope.Tenant.UID, engine.Key{Namespace: key.Namespace, Name: ref.name})
	}
	for _, ref := range append(found.secrets, found.pullSecrets...) {
		k.secrets.Doubt(scope.Tenant.UID, engine.Key{Namespace: key.Namespace, Name: ref.name})
	}
	k.bundles.forget(scope.Tenant.UID, key)
	err := k.resolve(ctx, scope, virtualPod)
	if errors.Is(err, errNotYet) {
		err = nil // a claim: its own kind sees to it
	}
	return recheckEvery, err
}

// isStarting tells whether a pod has a node and a container that waits for something other than its image or itself.
func isStarting(hostPod *corev1.Pod) bool {
	if hostPod.Spec.NodeName == "" || hostPod.Status.Phase != corev1.PodPending && hostPod.Status.Phase != corev1.PodRunning {
		return false
	}
	for _, statuses := range [][]corev1.ContainerStatus{hostPod.Status.InitContainerStatuses, hostPod.Status.ContainerStatuses} {
		for _, status := range statuses {
			if status.State.Waiting != nil && (status.State.Waiting.Reason == "ContainerCreating" || status.State.Waiting.Reason == "CreateContainerConfigError") {
				return true
			}
		}
	}
	return false
}
