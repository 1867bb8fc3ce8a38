package hostview

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Names of indexes.
const (
	byAddress   = "address"          // netip.Addr.String()
	byNamespace = "tenant-namespace" // ID, tenant namespace
	byService   = "service"          // host namespace, name of the Service
	bySubdomain = "subdomain"        // host namespace, subdomain
	byHostname  = "hostname"         // host namespace, subdomain, hostname
)

// indexKey joins parts that are names of Kubernetes objects and so hold no slash.
func indexKey(parts ...string) string { return strings.Join(parts, "/") }

var serviceIndexers = cache.Indexers{
	byAddress: func(object any) ([]string, error) {
		service, ok := object.(*corev1.Service)
		if !ok || !isGenuine(service.ObjectMeta) {
			return nil, nil
		}
		return addressKeys(serviceAddresses(service)), nil
	},
	byNamespace: func(object any) ([]string, error) {
		service, ok := object.(*corev1.Service)
		if !ok || !isGenuine(service.ObjectMeta) {
			return nil, nil
		}
		return []string{indexKey(service.Labels[mapping.LabelID], service.Labels[mapping.LabelTenantNamespace])}, nil
	},
}

var sliceIndexers = cache.Indexers{
	byService: func(object any) ([]string, error) {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
			return nil, nil
		}
		return []string{indexKey(slice.Namespace, slice.Labels[discoveryv1.LabelServiceName])}, nil
	},
}

var podIndexers = cache.Indexers{
	byAddress: func(object any) ([]string, error) {
		pod, ok := object.(*corev1.Pod)
		if !ok || !isGenuine(pod.ObjectMeta) {
			return nil, nil
		}
		return addressKeys(podAddresses(pod)), nil
	},
	byNamespace: func(object any) ([]string, error) {
		pod, ok := object.(*corev1.Pod)
		if !ok || pod.Labels[mapping.LabelTenantNamespace] == "" || !isGenuine(pod.ObjectMeta) {
			return nil, nil
		}
		return []string{indexKey(pod.Labels[mapping.LabelID], pod.Labels[mapping.LabelTenantNamespace])}, nil
	},
	bySubdomain: func(object any) ([]string, error) {
		pod, ok := object.(*corev1.Pod)
		if !ok || subdomain(pod) == "" {
			return nil, nil
		}
		return []string{indexKey(pod.Namespace, subdomain(pod))}, nil
	},
	byHostname: func(object any) ([]string, error) {
		pod, ok := object.(*corev1.Pod)
		if !ok || subdomain(pod) == "" || hostname(pod) == "" {
			return nil, nil
		}
		return []string{indexKey(pod.Namespace, subdomain(pod), hostname(pod))}, nil
	},
}

// isGenuine tells whether an object is where its labels say that it belongs. Whoever may make a pod in a namespace of the
// host's may label it as he likes; only the agent makes namespaces of virtual clusters and what is in them.
func isGenuine(object metav1.ObjectMeta) bool {
	id := object.Labels[mapping.LabelID]
	if namespace := object.Labels[mapping.LabelTenantNamespace]; namespace != "" {
		return object.Namespace == mapping.HostNamespace(id, namespace)
	}
	return object.Namespace == mapping.ControlNamespace(id)
}

func subdomain(pod *corev1.Pod) string { return pod.Annotations[mapping.AnnotationSubdomain] }

// hostname is the pod's own: without spec.hostname it is the pod's name, but then it is no name in the DNS.
func hostname(pod *corev1.Pod) string { return pod.Spec.Hostname }

// podAddresses are the addresses that are this pod's alone. A pod in the node's network has none, and an ended pod has
// given its addresses back.
func podAddresses(pod *corev1.Pod) []netip.Addr {
	if pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var addresses []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(ip.IP); err == nil {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses
}

func serviceAddresses(service *corev1.Service) []netip.Addr {
	var addresses []netip.Addr
	for _, ip := range service.Spec.ClusterIPs {
		// "None", of a headless Service, is no address.
		if address, err := netip.ParseAddr(ip); err == nil {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses
}

func addressKeys(addresses []netip.Addr) []string {
	keys := make([]string, 0, len(addresses))
	for _, address := range addresses {
		keys = append(keys, address.String())
	}
	return keys
}

// all returns the objects of an index. The only error that an Indexer has is an index that does not exist.
func all[T any](indexer cache.Indexer, index, key string) []T {
	objects, err := indexer.ByIndex(index, key)
	if err != nil {
		return nil
	}
	typed := make([]T, 0, len(objects))
	for _, object := range objects {
		if t, ok := object.(T); ok {
			typed = append(typed, t)
		}
	}
	return typed
}
