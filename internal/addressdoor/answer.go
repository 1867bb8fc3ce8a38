package addressdoor

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/addressdoor/reservation"
)

// answerAsAsked is for Services that have no address on the host.
func answerAsAsked(virtualService *corev1.Service) *reservation.Response {
	asked := virtualService.Spec
	spec := corev1.ServiceSpec{IPFamilies: asked.IPFamilies, IPFamilyPolicy: asked.IPFamilyPolicy, Ports: asked.Ports}
	if asked.Type != corev1.ServiceTypeExternalName {
		spec.ClusterIP = corev1.ClusterIPNone
		spec.ClusterIPs = []string{corev1.ClusterIPNone}
	}
	return &reservation.Response{Spec: spec}
}

// answerFrom reads the addresses for a tenant Service off its host Service.
func answerFrom(hostService, virtualService *corev1.Service) *reservation.Response {
	asked := virtualService.Spec
	spec := corev1.ServiceSpec{
		ClusterIP:           hostService.Spec.ClusterIP,
		ClusterIPs:          hostService.Spec.ClusterIPs,
		IPFamilies:          hostService.Spec.IPFamilies,
		IPFamilyPolicy:      hostService.Spec.IPFamilyPolicy,
		Ports:               answeredPorts(hostService, virtualService),
		HealthCheckNodePort: asked.HealthCheckNodePort,
	}
	if asked.IPFamilyPolicy != nil {
		spec.IPFamilyPolicy = asked.IPFamilyPolicy
	}
	if asked.ClusterIP != "" && asked.ClusterIP != hostService.Spec.ClusterIP {
		// The host Service was lost and came back with another address. An address is immutable in the tenant, so it
		// keeps what it has; the sync reports the difference.
		spec.ClusterIP, spec.ClusterIPs, spec.IPFamilies = asked.ClusterIP, asked.ClusterIPs, asked.IPFamilies
	}
	if asked.IPFamilyPolicy != nil && *asked.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack {
		// The tenant gives its second family up; the host Service does when the sync sees it.
		spec.ClusterIPs = spec.ClusterIPs[:min(1, len(spec.ClusterIPs))]
		spec.IPFamilies = spec.IPFamilies[:min(1, len(spec.IPFamilies))]
	}
	if needsHealthCheckPort(virtualService) && spec.HealthCheckNodePort == 0 {
		spec.HealthCheckNodePort = hostService.Spec.HealthCheckNodePort
	}
	return &reservation.Response{Spec: spec}
}

// answeredPorts are the asked ports, in their order, with the node ports that the host Service has for them.
func answeredPorts(hostService, virtualService *corev1.Service) []corev1.ServicePort {
	if !needsNodePorts(virtualService) {
		return virtualService.Spec.Ports
	}
	return keepNodePorts(hostService.Spec.Ports, virtualService.Spec.Ports)
}
