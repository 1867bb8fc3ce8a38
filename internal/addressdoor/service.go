package addressdoor

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// needsAddress tells whether the host allocates anything for a Service.
func needsAddress(service *corev1.Service) bool {
	return service.Spec.Type != corev1.ServiceTypeExternalName && !isHeadless(service)
}

func isHeadless(service *corev1.Service) bool { return service.Spec.ClusterIP == corev1.ClusterIPNone }

// needsNodePorts tells whether each port of a Service gets a node port without asking for one.
func needsNodePorts(service *corev1.Service) bool {
	switch service.Spec.Type {
	case corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeLoadBalancer:
		allocate := service.Spec.AllocateLoadBalancerNodePorts
		return allocate == nil || *allocate
	}
	return false
}

// needsHealthCheckPort follows the API server's own rule.
func needsHealthCheckPort(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// nodePortAsks are the ports of a Service that need a node port on the host.
func nodePortAsks(service *corev1.Service) []corev1.ServicePort {
	if needsNodePorts(service) {
		return service.Spec.Ports
	}
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	// A load balancer without node ports may still name some itself.
	var asks []corev1.ServicePort
	for _, port := range service.Spec.Ports {
		if port.NodePort != 0 {
			asks = append(asks, port)
		}
	}
	return asks
}

// reservedShape is the type and the ports of the inert host Service that holds what a tenant Service asks for.
func reservedShape(virtualService *corev1.Service) (corev1.ServiceType, []corev1.ServicePort) {
	if asks := nodePortAsks(virtualService); len(asks) > 0 {
		return corev1.ServiceTypeNodePort, inertPorts(asks)
	}
	ports := inertPorts(virtualService.Spec.Ports)
	for i := range ports {
		ports[i].NodePort = 0
	}
	return corev1.ServiceTypeClusterIP, ports
}

// inertPorts keeps what the allocators look at. Where a port leads to is the sync's business.
func inertPorts(ports []corev1.ServicePort) []corev1.ServicePort {
	inert := make([]corev1.ServicePort, 0, len(ports))
	for _, port := range ports {
		inert = append(inert, corev1.ServicePort{
			Name: port.Name, Protocol: port.Protocol, Port: port.Port, NodePort: port.NodePort,
		})
	}
	return inert
}

// newReservation is the host Service that holds the addresses of a tenant Service.
func newReservation(tenant tenants.Tenant, virtualService *corev1.Service, until time.Time) *corev1.Service {
	serviceType, ports := reservedShape(virtualService)
	// There is no annotation with the tenant's UID: on a create it is not chosen yet, or it is what somebody wrote into a
	// manifest. The sync adds it when it takes over.
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: mapping.HostNamespace(tenant.ID, virtualService.Namespace),
			Name:      mapping.HostName("Service", virtualService.Name),
			Labels: map[string]string{
				mapping.LabelID:              tenant.ID,
				mapping.LabelUID:             string(tenant.UID),
				mapping.LabelName:            tenant.Name,
				mapping.LabelNamespace:       tenant.Namespace,
				mapping.LabelTenantNamespace: virtualService.Namespace,
			},
			Annotations: map[string]string{mapping.AnnotationReservedUntil: formatTime(until)},
		},
		Spec: corev1.ServiceSpec{
			Type:           serviceType,
			Ports:          ports,
			ClusterIP:      virtualService.Spec.ClusterIP,
			ClusterIPs:     virtualService.Spec.ClusterIPs,
			IPFamilies:     virtualService.Spec.IPFamilies,
			IPFamilyPolicy: virtualService.Spec.IPFamilyPolicy,
		},
	}
}

// belongsTo tells whether a host Service was made for this namespace of this tenant.
func belongsTo(hostService *corev1.Service, tenant tenants.Tenant, virtualNamespace string) bool {
	return hostService.Labels[mapping.LabelID] == tenant.ID &&
		hostService.Labels[mapping.LabelUID] == string(tenant.UID) &&
		hostService.Labels[mapping.LabelTenantNamespace] == virtualNamespace
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// reservedUntil tells until when a reservation waits. ok is false for a host Service that is no reservation.
func reservedUntil(hostService *corev1.Service) (until time.Time, ok bool) {
	text, ok := hostService.Annotations[mapping.AnnotationReservedUntil]
	if !ok {
		return time.Time{}, false
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		// Only the agent may write it, but whoever edits it by hand must not make the reservation look eternal.
		return hostService.CreationTimestamp.Add(reservationTime), true
	}
	return until, true
}
