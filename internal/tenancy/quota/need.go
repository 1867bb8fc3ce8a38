package quota

import (
	"encoding/json"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// need is what a request takes of each resource that a quota can count, as the host's own admission sees it. It decides only
// what is moved, so what it does not know costs a refusal at worst. It is nil for what takes nothing.
func need(request *admissionv1.AdmissionRequest) (amounts, *corev1.Pod, error) {
	counted := count(request)
	switch request.Resource.Resource + "." + request.Resource.Group {
	case "pods.":
		return podNeed(request, counted)
	case "persistentvolumeclaims.":
		found, err := difference(request, claimUse)
		return sum(found, counted), nil, err
	case "services.":
		found, err := difference(request, serviceUse)
		return sum(found, counted), nil, err
	default:
		return counted, nil, nil
	}
}

// count is the object itself, which quotas of the form count/<resource>.<group> count.
func count(request *admissionv1.AdmissionRequest) amounts {
	if request.Operation != admissionv1.Create || request.SubResource != "" {
		return nil
	}
	found := amounts{corev1.ResourceName(objectCount(request.Resource.Resource, request.Resource.Group)): 1}
	switch name := corev1.ResourceName(request.Resource.Resource); name {
	case corev1.ResourceConfigMaps, corev1.ResourceSecrets, corev1.ResourceReplicationControllers:
		if request.Resource.Group == "" {
			found[name] = 1
		}
	}
	return found
}

func objectCount(resource, group string) string {
	if group == "" {
		return "count/" + resource
	}
	return "count/" + resource + "." + group
}

// difference is what an object takes more than before.
func difference[T any](request *admissionv1.AdmissionRequest, use func(*T) amounts) (amounts, error) {
	after, before := new(T), new(T)
	if err := json.Unmarshal(request.Object.Raw, after); err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	found := use(after)
	if request.Operation != admissionv1.Update {
		return found, nil
	}
	if err := json.Unmarshal(request.OldObject.Raw, before); err != nil {
		return nil, fmt.Errorf("read the object as it was: %w", err)
	}
	for name, amount := range use(before) {
		if found[name] -= amount; found[name] <= 0 {
			delete(found, name)
		}
	}
	return found, nil
}

func sum(a, b amounts) amounts {
	total := amounts{}
	for _, one := range []amounts{a, b} {
		for name, amount := range one {
			total[name] = plus(total[name], amount)
		}
	}
	return total
}

func podNeed(request *admissionv1.AdmissionRequest, counted amounts) (amounts, *corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := json.Unmarshal(request.Object.Raw, pod); err != nil {
		return nil, nil, fmt.Errorf("read the pod: %w", err)
	}
	found, err := difference(request, podUse)
	return sum(found, counted), pod, err
}

// podUse is what a pod takes while it has not ended.
func podUse(pod *corev1.Pod) amounts {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return amounts{}
	}
	options := resource.PodResourcesOptions{UseStatusResources: true}
	found := amounts{corev1.ResourcePods: 1}
	for name, quantity := range resource.PodRequests(pod, options) {
		for _, as := range requestNames(name) {
			found[as] = amountOf(as, quantity)
		}
	}
	for name, quantity := range resource.PodLimits(pod, options) {
		switch name {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
			as := "limits." + name
			found[as] = amountOf(as, quantity)
		}
	}
	return found
}

// requestNames are the names by which quotas count a request.
func requestNames(name corev1.ResourceName) []corev1.ResourceName {
	asRequest := corev1.DefaultResourceRequestsPrefix + name
	switch {
	case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage,
		strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
		return []corev1.ResourceName{name, asRequest}
	default:
		return []corev1.ResourceName{asRequest}
	}
}

func claimUse(claim *corev1.PersistentVolumeClaim) amounts {
	const claims, storage = corev1.ResourcePersistentVolumeClaims, corev1.ResourceRequestsStorage
	found := amounts{claims: 1}
	if quantity, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
		found[storage] = amountOf(storage, quantity)
	}
	if class := claim.Spec.StorageClassName; class != nil && *class != "" {
		for _, name := range []corev1.ResourceName{claims, storage} {
			if amount, ok := found[name]; ok {
				found[corev1.ResourceName(*class+".storageclass.storage.k8s.io/")+name] = amount
			}
		}
	}
	return found
}

func serviceUse(service *corev1.Service) amounts {
	found := amounts{corev1.ResourceServices: 1}
	ports := int64(len(service.Spec.Ports))
	switch service.Spec.Type {
	case corev1.ServiceTypeNodePort:
		found[corev1.ResourceServicesNodePorts] = ports
	case corev1.ServiceTypeLoadBalancer:
		found[corev1.ResourceServicesLoadBalancers] = 1
		if allocate := service.Spec.AllocateLoadBalancerNodePorts; allocate == nil || *allocate {
			found[corev1.ResourceServicesNodePorts] = ports
		}
	}
	return found
}
