package hostview

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// The names of the Service of every control plane, on the host and in the tenant.
const (
	controlPlaneService = "kubernetes"
	httpsPort           = "https"
)

// Service is a tenant's Service as far as names need it.
type Service struct {
	Namespace, Name string
	// Headless Services and external names have no addresses.
	Addresses    []netip.Addr
	Headless     bool
	ExternalName string
	Ports        []Port
}

// Port is a port of a Service or an endpoint.
type Port struct {
	Name     string
	Protocol corev1.Protocol
	Port     int32
}

// Endpoint is a ready endpoint of a Service.
type Endpoint struct {
	// Hostname that the endpoint has under its Service; empty when it has none.
	Hostname string
	Address  netip.Addr
	Ports    []Port
}

// Pod is a tenant's pod as far as names need it.
type Pod struct {
	Namespace           string
	Hostname, Subdomain string
	Addresses           []netip.Addr
}

// Service finds a Service of a virtual cluster. default/kubernetes is the one of its control plane.
func (v *View) Service(id, namespace, name string) (Service, bool) {
	if isControlPlane(namespace, name) {
		return v.controlPlane(id)
	}
	key := indexKey(mapping.HostNamespace(id, namespace), mapping.HostName("Service", name))
	object, found, err := v.services.GetByKey(key)
	if err != nil || !found {
		return Service{}, false
	}
	hostService, ok := object.(*corev1.Service)
	if !ok || !isOf(hostService.ObjectMeta, id, namespace) || isReservation(hostService) {
		return Service{}, false
	}
	return serviceOf(namespace, name, hostService), true
}

func isControlPlane(namespace, name string) bool {
	return namespace == metav1.NamespaceDefault && name == controlPlaneService
}

// isReservation tells a Service that the tenant may not even have.
func isReservation(hostService *corev1.Service) bool {
	_, ok := hostService.Annotations[mapping.AnnotationReservedUntil]
	return ok
}

func isOf(object metav1.ObjectMeta, id, namespace string) bool {
	return object.Labels[mapping.LabelID] == id && object.Labels[mapping.LabelTenantNamespace] == namespace
}

func (v *View) controlPlane(id string) (Service, bool) {
	object, found, err := v.services.GetByKey(indexKey(mapping.ControlNamespace(id), controlPlaneService))
	if err != nil || !found {
		return Service{}, false
	}
	hostService, ok := object.(*corev1.Service)
	if !ok || hostService.Labels[mapping.LabelID] != id {
		return Service{}, false
	}
	service := serviceOf(metav1.NamespaceDefault, controlPlaneService, hostService)
	// As in any cluster, whatever the host Service calls its ports.
	service.Ports = []Port{{Name: httpsPort, Protocol: corev1.ProtocolTCP, Port: 443}}
	return service, true
}

func serviceOf(namespace, name string, hostService *corev1.Service) Service {
	service := Service{
		Namespace: namespace,
		Name:      name,
		Addresses: serviceAddresses(hostService),
		Headless:  hostService.Spec.Type != corev1.ServiceTypeExternalName && hostService.Spec.ClusterIP == corev1.ClusterIPNone,
	}
	if hostService.Spec.Type == corev1.ServiceTypeExternalName {
		service.ExternalName = hostService.Spec.ExternalName
		service.Addresses = nil
	}
	for _, port := range hostService.Spec.Ports {
		service.Ports = append(service.Ports, Port{Name: port.Name, Protocol: protocol(port.Protocol), Port: port.Port})
	}
	return service
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// HasNamespace tells whether there is a name in a namespace of a virtual cluster.
func (v *View) HasNamespace(id, namespace string) bool {
	key := indexKey(id, namespace)
	for _, indexer := range []interface {
		IndexKeys(index, value string) ([]string, error)
	}{v.services, v.pods} {
		keys, err := indexer.IndexKeys(byNamespace, key)
		if err == nil && len(keys) > 0 {
			return true
		}
	}
	if namespace != metav1.NamespaceDefault {
		return false
	}
	_, ok := v.controlPlane(id)
	return ok
}

// Endpoints are the ready endpoints of a Service.
func (v *View) Endpoints(id, namespace, service string) []Endpoint {
	hostNamespace := mapping.HostNamespace(id, namespace)
	var endpoints []Endpoint
	for _, slice := range all[*discoveryv1.EndpointSlice](v.slices, byService, indexKey(hostNamespace, mapping.HostName("Service", service))) {
		// A slice made by the host's controller has the labels of its Service.
		if slice.Labels[mapping.LabelID] != id {
			continue
		}
		ports := slicePorts(slice.Ports)
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			name := v.endpointHostname(endpoint, hostNamespace, id, service)
			for _, text := range endpoint.Addresses {
				if address, err := netip.ParseAddr(text); err == nil {
					endpoints = append(endpoints, Endpoint{Hostname: name, Address: address.Unmap(), Ports: ports})
				}
			}
		}
	}
	return endpoints
}

// endpointHostname is the hostname of an endpoint. The host does not know it for pods, since host pods have no subdomain.
func (v *View) endpointHostname(endpoint discoveryv1.Endpoint, hostNamespace, id, service string) string {
	if endpoint.Hostname != nil {
		return *endpoint.Hostname
	}
	if endpoint.TargetRef == nil {
		return ""
	}
	object, found, err := v.pods.GetByKey(indexKey(hostNamespace, endpoint.TargetRef.Name))
	if err != nil || !found {
		return ""
	}
	hostPod, ok := object.(*corev1.Pod)
	if !ok || hostPod.Labels[mapping.LabelID] != id || subdomain(hostPod) != service {
		return ""
	}
	return hostname(hostPod)
}

func slicePorts(ports []discoveryv1.EndpointPort) []Port {
	var list []Port
	for _, port := range ports {
		if port.Port == nil {
			continue
		}
		p := Port{Port: *port.Port, Protocol: corev1.ProtocolTCP}
		if port.Name != nil {
			p.Name = *port.Name
		}
		if port.Protocol != nil {
			p.Protocol = *port.Protocol
		}
		list = append(list, p)
	}
	return list
}

// HasSubdomain tells whether a pod of the namespace has this subdomain.
func (v *View) HasSubdomain(id, namespace, subdomain string) bool {
	for _, pod := range all[*corev1.Pod](v.pods, bySubdomain, indexKey(mapping.HostNamespace(id, namespace), subdomain)) {
		if isOf(pod.ObjectMeta, id, namespace) {
			return true
		}
	}
	return false
}

// PodsByHostname finds the pods of a namespace with this hostname and subdomain.
func (v *View) PodsByHostname(id, namespace, subdomain, hostname string) []Pod {
	var pods []Pod
	for _, pod := range all[*corev1.Pod](v.pods, byHostname, indexKey(mapping.HostNamespace(id, namespace), subdomain, hostname)) {
		if isOf(pod.ObjectMeta, id, namespace) {
			pods = append(pods, podOf(pod))
		}
	}
	return pods
}

// PodByAddress finds the pod of a virtual cluster that has this address. Pods of its control plane are not its own.
func (v *View) PodByAddress(id string, address netip.Addr) (Pod, bool) {
	for _, pod := range v.podsByAddress(address) {
		namespace := pod.Labels[mapping.LabelTenantNamespace]
		if namespace != "" && isOf(pod.ObjectMeta, id, namespace) {
			return podOf(pod), true
		}
	}
	return Pod{}, false
}

// ServiceByAddress finds the Service of a virtual cluster that has this address.
func (v *View) ServiceByAddress(id string, address netip.Addr) (Service, bool) {
	for _, hostService := range all[*corev1.Service](v.services, byAddress, address.String()) {
		if hostService.Labels[mapping.LabelID] != id {
			continue
		}
		if hostService.Namespace == mapping.ControlNamespace(id) && hostService.Name == controlPlaneService {
			return v.controlPlane(id)
		}
		namespace := hostService.Labels[mapping.LabelTenantNamespace]
		if namespace != "" && hostService.Namespace == mapping.HostNamespace(id, namespace) && !isReservation(hostService) {
			return serviceOf(namespace, hostService.Name, hostService), true
		}
	}
	return Service{}, false
}

func (v *View) podsByAddress(address netip.Addr) []*corev1.Pod {
	return all[*corev1.Pod](v.pods, byAddress, address.String())
}

func podOf(hostPod *corev1.Pod) Pod {
	return Pod{
		Namespace: hostPod.Labels[mapping.LabelTenantNamespace],
		Hostname:  hostname(hostPod),
		Subdomain: subdomain(hostPod),
		Addresses: podAddresses(hostPod),
	}
}
