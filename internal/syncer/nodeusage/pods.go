package nodeusage

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// onNodes selects the pods that take something of a node: those that have one and have not ended.
var onNodes = fields.ParseSelectorOrDie("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed")

// trim keeps of a pod what is counted. Its requests, with those of init containers, sidecars and overhead, become those of one
// container without a name, and the pod itself is one of what a node has room for.
func trim(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true})
	requests[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	trimmed := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion},
		Spec: corev1.PodSpec{
			NodeName:   pod.Spec.NodeName,
			Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: requests}}},
		},
	}
	if owner := tenantOf(pod); owner != "" {
		trimmed.Labels = map[string]string{mapping.LabelUID: string(owner)}
	}
	return trimmed, nil
}

// tenantOf is the virtual cluster whose tenant sees this pod, or "". The pods of its control plane a tenant does not see, so
// that they count as somebody else's.
func tenantOf(hostPod *corev1.Pod) types.UID {
	if hostPod.Labels[mapping.LabelTenantNamespace] == "" {
		return ""
	}
	return types.UID(hostPod.Labels[mapping.LabelUID])
}

func ownerOf(trimmed *corev1.Pod) types.UID { return types.UID(trimmed.Labels[mapping.LabelUID]) }

func requestsOf(trimmed *corev1.Pod) corev1.ResourceList {
	return trimmed.Spec.Containers[0].Resources.Requests
}

// add adds quantities to a sum.
func add(sum, more corev1.ResourceList) {
	for name, quantity := range more {
		total := sum[name].DeepCopy()
		total.Add(quantity)
		sum[name] = total
	}
}
