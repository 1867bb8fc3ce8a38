package pod

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/namespaces"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// translation is everything that the host pod depends on beside the tenant's pod.
type translation struct {
	tenantUID string
	// meta is the metadata of the host pod.
	meta metav1.ObjectMeta
	// serviceAddress is the address of the tenant's API server.
	serviceAddress string
	// dnsServers and clusterDomain are the tenant's DNS.
	dnsServers    []string
	clusterDomain string
	// nodeSelector limits the tenant to these nodes of the host.
	nodeSelector map[string]string
	// account says what pods of the tenant's account may have; nil for a tenant without one.
	account *rules.Rules
	// isPlaced tells that a scheduler of the tenant's own has chosen the node.
	isPlaced bool
	// overlaid are resources of that node that only the tenant knows.
	overlaid []corev1.ResourceName
	// priorityClass is the account's; without one that of the pod if the host offers it, else "".
	priorityClass string
	// hostNamespace maps a tenant's namespace.
	hostNamespace func(tenantNamespace string) string
	// hasPullSecret tells whether the tenant has a pull secret; the kubelet ignores those that do not exist.
	hasPullSecret func(name string) bool
}

// translate makes the host pod of a tenant's pod, and says what its bundle must hold. It is pure: it changes neither
// argument.
func translate(virtualPod *corev1.Pod, t translation) (*corev1.Pod, bundle) {
	hostPod := &corev1.Pod{ObjectMeta: t.meta, Spec: *virtualPod.Spec.DeepCopy()}
	spec := &hostPod.Spec

	t.identity(virtualPod, hostPod)
	hostPod.Annotations = withAll(hostPod.Annotations, fieldAnnotations(virtualPod))
	var wanted bundle
	for index := range spec.Volumes {
		translateVolume(virtualPod, &spec.Volumes[index], &wanted)
	}
	environment := environmentOf(virtualPod, t.serviceAddress)
	eachContainer(spec, func(container *corev1.Container) {
		container.Env = environment.translate(container.Env)
		renameEnvFrom(container.EnvFrom)
	})
	// Ephemeral containers have their own subresource; a POST with them is refused.
	spec.EphemeralContainers = nil
	t.dns(spec, virtualPod.Namespace)
	if t.isPlaced {
		t.placed(spec)
	}
	t.placement(spec)
	t.affinity(spec)
	t.pullSecrets(spec)
	return hostPod, wanted
}

// identity sets who the pod is on the host.
func (t translation) identity(virtualPod, hostPod *corev1.Pod) {
	spec, noToken := &hostPod.Spec, false
	spec.ServiceAccountName = namespaces.WorkloadAccount
	spec.DeprecatedServiceAccount = ""
	spec.AutomountServiceAccountToken = &noToken
	// Priority is the host's, which works out the rest from the class: a tenant must not evict others by one of its own.
	spec.PriorityClassName, spec.Priority, spec.PreemptionPolicy = t.priorityClass, nil, nil
	// The host's RuntimeClass says what the overhead is.
	spec.Overhead = nil
	spec.SchedulerName = ""
	spec.SchedulingGates = nil
	spec.ResourceClaims = nil
	t.hostname(virtualPod, hostPod)
	if isOfJob(virtualPod) {
		hostPod.Finalizers = []string{mapping.FinalizerTerminalStatus}
	}
}

func isOfJob(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "Job"
}

// pullSecrets keeps those that the tenant has: the host may have one of the same name that is not the tenant's.
func (t translation) pullSecrets(spec *corev1.PodSpec) {
	var kept []corev1.LocalObjectReference
	for _, secret := range spec.ImagePullSecrets {
		if t.hasPullSecret(secret.Name) {
			kept = append(kept, secret)
		}
	}
	spec.ImagePullSecrets = kept
}
