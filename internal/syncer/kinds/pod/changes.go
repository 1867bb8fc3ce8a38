package pod

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// changesDown carries to a running host pod what may change in a tenant's pod.
func (k *kind) changesDown(ctx context.Context, scope *engine.Scope, virtualPod, hostPod, desired *corev1.Pod) error {
	if err := k.write(ctx, scope, "", hostPod, withChanges(hostPod, desired)); err != nil {
		return err
	}
	if err := k.write(ctx, scope, "resize", hostPod, withResources(hostPod, desired)); err != nil {
		return err
	}
	if err := k.debugDown(ctx, scope, virtualPod, hostPod); err != nil {
		return err
	}
	gated := hostPod.DeepCopy()
	gated.Status.Conditions = gatesDown(virtualPod, hostPod)
	return k.write(ctx, scope, "status", hostPod, gated)
}

func (k *kind) write(ctx context.Context, scope *engine.Scope, subresource string, hostPod, changed *corev1.Pod) error {
	if equality.Semantic.DeepEqual(hostPod, changed) {
		return nil
	}
	if err := scope.Admit(changed); err != nil {
		return err
	}
	data, err := patchOf(hostPod, changed)
	if err != nil || data == nil {
		return err
	}
	if err := scope.MayPutBack(hostPod, data); err != nil {
		return err
	}
	written, err := send(ctx, scope.HostClient, subresource, hostPod, data)
	if err != nil {
		engine.NoteWritten(ctx, hostPod, err)
		return &engine.HostError{Action: "change pod " + engine.KeyOf(hostPod).String(), Err: err}
	}
	scope.HasPutBack(hostPod, data)
	engine.NoteChanged(ctx, hostPod, changed)
	engine.NoteWritten(ctx, written, nil)
	return nil
}

// withChanges is the host pod with what may change of the pod itself: metadata, images, the deadline and more
// tolerations. It is pure.
func withChanges(hostPod, desired *corev1.Pod) *corev1.Pod {
	changed := hostPod.DeepCopy()
	engine.SetHostMeta(changed, desired.ObjectMeta)
	copyChanges(&changed.Spec, &desired.Spec)
	return changed
}

func copyChanges(host, desired *corev1.PodSpec) {
	copyImages(host.InitContainers, desired.InitContainers)
	copyImages(host.Containers, desired.Containers)
	if desired.ActiveDeadlineSeconds != nil {
		host.ActiveDeadlineSeconds = desired.ActiveDeadlineSeconds
	}
	for _, toleration := range desired.Tolerations {
		if !hasToleration(host, toleration) {
			host.Tolerations = append(host.Tolerations, toleration)
		}
	}
}

func hasToleration(host *corev1.PodSpec, toleration corev1.Toleration) bool {
	return slices.ContainsFunc(host.Tolerations, func(has corev1.Toleration) bool { return equality.Semantic.DeepEqual(has, toleration) })
}

func copyImages(host, desired []corev1.Container) {
	for index := range host {
		for _, container := range desired {
			if container.Name == host[index].Name {
				host[index].Image = container.Image
			}
		}
	}
}

// withResources is the host pod with the tenant's requests and limits. What the host has added stays.
func withResources(hostPod, desired *corev1.Pod) *corev1.Pod {
	changed := hostPod.DeepCopy()
	copyPodResources(&changed.Spec, &desired.Spec)
	return changed
}

func copyPodResources(host, desired *corev1.PodSpec) {
	copyResources(host.InitContainers, desired.InitContainers)
	copyResources(host.Containers, desired.Containers)
	if host.Resources != nil && desired.Resources != nil {
		setQuantities(&host.Resources.Requests, desired.Resources.Requests)
		setQuantities(&host.Resources.Limits, desired.Resources.Limits)
	}
}

// isCarried tells whether a host pod has all that may change in its tenant's pod. It is pure.
func isCarried(virtualPod, hostPod *corev1.Pod, account *rules.Rules) bool {
	if virtualPod.DeletionTimestamp != nil && hostPod.DeletionTimestamp == nil ||
		len(missingDebug(virtualPod, hostPod)) > 0 {
		return false
	}
	desired := virtualPod.Spec.DeepCopy()
	desired.Tolerations = hostTolerations(desired.Tolerations, account)
	changed := hostPod.Spec.DeepCopy()
	copyChanges(changed, desired)
	copyPodResources(changed, desired)
	return equality.Semantic.DeepEqual(changed, &hostPod.Spec)
}

func copyResources(host, desired []corev1.Container) {
	for index := range host {
		for _, container := range desired {
			if container.Name != host[index].Name {
				continue
			}
			setQuantities(&host[index].Resources.Requests, container.Resources.Requests)
			setQuantities(&host[index].Resources.Limits, container.Resources.Limits)
			if len(container.ResizePolicy) > 0 {
				host[index].ResizePolicy = container.ResizePolicy
			}
		}
	}
}

// setQuantities changes what the API lets anybody change of a running pod.
func setQuantities(host *corev1.ResourceList, desired corev1.ResourceList) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		quantity, ok := desired[name]
		if !ok {
			continue
		}
		if *host == nil {
			*host = corev1.ResourceList{}
		}
		(*host)[name] = quantity
	}
}

// debugDown adds ephemeral containers, which can only be added.
func (k *kind) debugDown(ctx context.Context, scope *engine.Scope, virtualPod, hostPod *corev1.Pod) error {
	changed := withDebug(virtualPod, hostPod, scope.Tenant.ServiceAddress)
	if len(changed.Spec.EphemeralContainers) == len(hostPod.Spec.EphemeralContainers) {
		return nil
	}
	if err := k.resolve(ctx, scope, virtualPod); err != nil {
		return err
	}
	return k.write(ctx, scope, "ephemeralcontainers", hostPod, changed)
}

func withDebug(virtualPod, hostPod *corev1.Pod, serviceAddress string) *corev1.Pod {
	changed := hostPod.DeepCopy()
	for _, added := range missingDebug(virtualPod, hostPod) {
		added.Env = environmentOf(virtualPod, serviceAddress).translate(added.Env)
		renameEnvFrom(added.EnvFrom)
		changed.Spec.EphemeralContainers = append(changed.Spec.EphemeralContainers, added)
	}
	return changed
}

// missingDebug are the ephemeral containers that the host pod does not have. Those that ended with a sleep do not come again, as
// after the reboot of a node.
func missingDebug(virtualPod, hostPod *corev1.Pod) []corev1.EphemeralContainer {
	var missing []corev1.EphemeralContainer
	ended := sleptThrough(hostPod).Debug
	for _, container := range virtualPod.Spec.EphemeralContainers {
		if slices.Contains(ended, container.Name) {
			continue
		}
		if !slices.ContainsFunc(hostPod.Spec.EphemeralContainers, func(has corev1.EphemeralContainer) bool { return has.Name == container.Name }) {
			missing = append(missing, *container.DeepCopy())
		}
	}
	return missing
}
