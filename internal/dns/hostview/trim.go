package hostview

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// The caches hold every pod of every tenant; what is not needed for names is dropped before it is stored.

func trimMeta(object metav1.ObjectMeta, labels, annotations []string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:         object.Namespace,
		Name:              object.Name,
		UID:               object.UID,
		ResourceVersion:   object.ResourceVersion,
		DeletionTimestamp: object.DeletionTimestamp,
		Labels:            pick(object.Labels, labels),
		Annotations:       pick(object.Annotations, annotations),
	}
}

func pick(from map[string]string, keys []string) map[string]string {
	var picked map[string]string
	for _, key := range keys {
		value, ok := from[key]
		if !ok {
			continue
		}
		if picked == nil {
			picked = make(map[string]string, len(keys))
		}
		picked[key] = value
	}
	return picked
}

var ownership = []string{mapping.LabelID, mapping.LabelTenantNamespace}

func trimService(object any) (any, error) {
	service, ok := object.(*corev1.Service)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Service{
		ObjectMeta: trimMeta(service.ObjectMeta, ownership, []string{mapping.AnnotationReservedUntil}),
		Spec: corev1.ServiceSpec{
			Type:         service.Spec.Type,
			ClusterIP:    service.Spec.ClusterIP,
			ClusterIPs:   service.Spec.ClusterIPs,
			ExternalName: service.Spec.ExternalName,
		},
	}
	for _, port := range service.Spec.Ports {
		trimmed.Spec.Ports = append(trimmed.Spec.Ports, corev1.ServicePort{Name: port.Name, Protocol: port.Protocol, Port: port.Port})
	}
	return trimmed, nil
}

func trimSlice(object any) (any, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return object, nil
	}
	trimmed := &discoveryv1.EndpointSlice{
		ObjectMeta:  trimMeta(slice.ObjectMeta, append([]string{discoveryv1.LabelServiceName}, ownership...), nil),
		AddressType: slice.AddressType,
		Ports:       slice.Ports,
	}
	for _, endpoint := range slice.Endpoints {
		kept := discoveryv1.Endpoint{
			Addresses:  endpoint.Addresses,
			Hostname:   endpoint.Hostname,
			Conditions: discoveryv1.EndpointConditions{Ready: endpoint.Conditions.Ready},
		}
		if target := endpoint.TargetRef; target != nil && target.Kind == "Pod" {
			kept.TargetRef = &corev1.ObjectReference{Kind: target.Kind, Namespace: target.Namespace, Name: target.Name}
		}
		trimmed.Endpoints = append(trimmed.Endpoints, kept)
	}
	return trimmed, nil
}

func trimPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	return &corev1.Pod{
		ObjectMeta: trimMeta(pod.ObjectMeta, ownership, []string{mapping.AnnotationSubdomain}),
		Spec:       corev1.PodSpec{Hostname: pod.Spec.Hostname, HostNetwork: pod.Spec.HostNetwork},
		Status:     corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs},
	}, nil
}
