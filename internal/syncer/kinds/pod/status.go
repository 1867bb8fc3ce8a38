package pod

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// statusUp is the status that the tenant's pod must have, given its host pod. redact cleans text for the tenant,
// account is its account or nil. It is pure.
func statusUp(virtualPod, hostPod *corev1.Pod, account *rules.Rules, redact func(string) string) corev1.PodStatus {
	host := hostPod.Status.DeepCopy()
	status := *virtualPod.Status.DeepCopy()
	clean := func(text string) string {
		return redact(strings.ReplaceAll(text, string(hostPod.UID), string(virtualPod.UID)))
	}

	status.Phase, status.Reason, status.Message = host.Phase, host.Reason, clean(host.Message)
	status.HostIP, status.HostIPs = host.HostIP, host.HostIPs
	status.PodIP, status.PodIPs = host.PodIP, host.PodIPs
	status.StartTime = host.StartTime
	status.Resize, status.Resources, status.AllocatedResources = host.Resize, host.Resources, host.AllocatedResources
	status.ObservedGeneration = generationUp(virtualPod, hostPod, account)
	for index := range host.Conditions {
		if host.Conditions[index].ObservedGeneration != 0 {
			host.Conditions[index].ObservedGeneration = status.ObservedGeneration
		}
	}
	status.Conditions = conditionsUp(virtualPod, host.Conditions, clean)

	known := containerNames(virtualPod)
	status.InitContainerStatuses = containersUp(host.InitContainerStatuses, known, clean)
	status.ContainerStatuses = containersUp(host.ContainerStatuses, known, clean)
	status.EphemeralContainerStatuses = containersUp(host.EphemeralContainerStatuses, known, clean)
	afterSleep(virtualPod, hostPod, &status)
	return status
}

// generationUp says which generation of the tenant's pod the kubelet has seen: the two sides count their own. A change that
// the host pod does not have yet can not have been seen, even if the kubelet has seen all of the host pod.
func generationUp(virtualPod, hostPod *corev1.Pod, account *rules.Rules) int64 {
	if hostPod.Status.ObservedGeneration == 0 || hostPod.Status.ObservedGeneration < hostPod.Generation ||
		virtualPod.Status.ObservedGeneration != virtualPod.Generation && !isCarried(virtualPod, hostPod, account) {
		return virtualPod.Status.ObservedGeneration
	}
	return virtualPod.Generation
}

// conditionsUp takes the host's conditions, but for the types that the tenant's own controllers write.
func conditionsUp(virtualPod *corev1.Pod, host []corev1.PodCondition, clean func(string) string) []corev1.PodCondition {
	gates := gateTypes(virtualPod)
	var conditions []corev1.PodCondition
	for _, condition := range virtualPod.Status.Conditions {
		if gates.Has(condition.Type) || !isHostCondition(condition.Type, host) && !isKubeletCondition(condition.Type) {
			conditions = append(conditions, condition)
		}
	}
	for _, condition := range host {
		if gates.Has(condition.Type) {
			continue
		}
		condition.Message = clean(condition.Message)
		conditions = append(conditions, condition)
	}
	// The order is that of the tenant's pod, so that nothing is written for want of order.
	slices.SortStableFunc(conditions, func(a, b corev1.PodCondition) int {
		return position(virtualPod.Status.Conditions, a.Type) - position(virtualPod.Status.Conditions, b.Type)
	})
	return conditions
}

func position(conditions []corev1.PodCondition, of corev1.PodConditionType) int {
	index := slices.IndexFunc(conditions, func(c corev1.PodCondition) bool { return c.Type == of })
	if index < 0 {
		return len(conditions)
	}
	return index
}

func isHostCondition(of corev1.PodConditionType, host []corev1.PodCondition) bool {
	return slices.ContainsFunc(host, func(c corev1.PodCondition) bool { return c.Type == of })
}

// isKubeletCondition tells whether only a kubelet or scheduler writes a condition, so that one that the host does not
// have is out of date.
func isKubeletCondition(of corev1.PodConditionType) bool {
	switch of {
	case corev1.PodReady, corev1.ContainersReady, corev1.PodInitialized, corev1.PodScheduled, corev1.PodReadyToStartContainers,
		corev1.PodResizePending, corev1.PodResizeInProgress, corev1.AllContainersRestarting:
		return true
	default:
		return false
	}
}

// gateTypes are the types that the tenant's controllers write. A pod can name any type as a gate, also one that is the
// host's to write: it stays the host's, or the tenant's word would go against the kubelet's without end.
func gateTypes(virtualPod *corev1.Pod) sets.Set[corev1.PodConditionType] {
	gates := sets.New[corev1.PodConditionType]()
	for _, gate := range virtualPod.Spec.ReadinessGates {
		if !isKubeletCondition(gate.ConditionType) && !isNodeCondition(gate.ConditionType) {
			gates.Insert(gate.ConditionType)
		}
	}
	return gates
}

// isNodeCondition tells whether a condition is written by kubelets or by the host's controllers at times, and may be
// the tenant's own at others.
func isNodeCondition(of corev1.PodConditionType) bool {
	switch of {
	case corev1.DisruptionTarget:
		return true
	default:
		return false
	}
}

func containerNames(virtualPod *corev1.Pod) sets.Set[string] {
	known := sets.New[string]()
	eachContainer(&virtualPod.Spec, func(container *corev1.Container) { known.Insert(container.Name) })
	for index := range virtualPod.Spec.EphemeralContainers {
		known.Insert(virtualPod.Spec.EphemeralContainers[index].Name)
	}
	return known
}

// containersUp leaves out containers that the host itself has put into the pod.
func containersUp(host []corev1.ContainerStatus, known sets.Set[string], clean func(string) string) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	for _, status := range host {
		if !known.Has(status.Name) {
			continue
		}
		cleanState(&status.State, clean)
		cleanState(&status.LastTerminationState, clean)
		statuses = append(statuses, status)
	}
	return statuses
}

func cleanState(state *corev1.ContainerState, clean func(string) string) {
	if state.Waiting != nil {
		state.Waiting.Message = clean(state.Waiting.Message)
	}
	// A terminated container's message is the program's own text, which the tenant wrote.
}

// gatesDown are the conditions that the host pod must have for the readiness gates of the tenant's pod.
func gatesDown(virtualPod, hostPod *corev1.Pod) []corev1.PodCondition {
	gates := gateTypes(virtualPod)
	conditions := slices.Clone(hostPod.Status.Conditions)
	conditions = slices.DeleteFunc(conditions, func(c corev1.PodCondition) bool { return gates.Has(c.Type) })
	for _, condition := range virtualPod.Status.Conditions {
		if gates.Has(condition.Type) {
			condition.ObservedGeneration = 0
			conditions = append(conditions, condition)
		}
	}
	slices.SortStableFunc(conditions, func(a, b corev1.PodCondition) int {
		return position(hostPod.Status.Conditions, a.Type) - position(hostPod.Status.Conditions, b.Type)
	})
	return conditions
}

func isTerminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
