package endpointslice

import (
	"maps"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// managedBy is the value of the label endpointslice.kubernetes.io/managed-by on a host slice. The tenant's value is
// not copied: the host's controllers would take a slice with theirs for their own.
const managedBy = "agent.matryoshka.dev"

// serviceName is the Service that a slice belongs to, "" for none.
func serviceName(slice *discoveryv1.EndpointSlice) string {
	return slice.Labels[discoveryv1.LabelServiceName]
}

// isOwnAddress tells whether a slice is that of the tenant's API server, which is not copied: on the host that
// Service is the control plane's own.
func isOwnAddress(namespace, service string) bool {
	return namespace == metav1.NamespaceDefault && service == "kubernetes"
}

// isHandMade tells whether the endpoints of a Service come from the tenant and not from a controller and a selector.
func isHandMade(virtualService *corev1.Service) bool {
	return len(virtualService.Spec.Selector) == 0 && virtualService.Spec.Type != corev1.ServiceTypeExternalName
}

// hostLabels are the labels of the host slice but for those of ownership.
func hostLabels(virtualSlice *discoveryv1.EndpointSlice) map[string]string {
	labels := map[string]string{
		discoveryv1.LabelServiceName: serviceName(virtualSlice),
		discoveryv1.LabelManagedBy:   managedBy,
	}
	if value, ok := virtualSlice.Labels[corev1.IsHeadlessService]; ok {
		labels[corev1.IsHeadlessService] = value
	}
	return labels
}

// translation is a host slice's content and what was left out of it.
type translation struct {
	endpoints []discoveryv1.Endpoint
	ports     []discoveryv1.EndpointPort
	// refused are the addresses that the tenant may not name.
	refused []string
}

// translate is the content of the host slice. Endpoints of which no address may be named are left out.
func translate(virtualSlice *discoveryv1.EndpointSlice, isAllowed func(netip.Addr) bool) translation {
	result := translation{}
	for _, port := range virtualSlice.Ports {
		result.ports = append(result.ports, *port.DeepCopy())
	}
	for _, virtualEndpoint := range virtualSlice.Endpoints {
		hostEndpoint := discoveryv1.Endpoint{
			Conditions: *virtualEndpoint.Conditions.DeepCopy(),
			Hostname:   clone(virtualEndpoint.Hostname),
		}
		for _, text := range virtualEndpoint.Addresses {
			address, err := netip.ParseAddr(text)
			if err != nil || !isAllowed(address) {
				result.refused = append(result.refused, text)
				continue
			}
			hostEndpoint.Addresses = append(hostEndpoint.Addresses, text)
		}
		if len(hostEndpoint.Addresses) > 0 {
			result.endpoints = append(result.endpoints, hostEndpoint)
		}
	}
	return result
}

// withoutControllers drops the labels that controllers of EndpointSlices act on; hostLabels has those that are meant.
func withoutControllers(labels map[string]string) map[string]string {
	kept := maps.Clone(labels)
	maps.DeleteFunc(kept, func(key, _ string) bool {
		return key == discoveryv1.LabelServiceName || key == corev1.IsHeadlessService ||
			strings.HasPrefix(key, "endpointslice.kubernetes.io/") || key == discoveryv1.LabelSkipMirror
	})
	return kept
}

func clone[T any](value *T) *T {
	if value == nil {
		return nil
	}
	copied := *value
	return &copied
}
