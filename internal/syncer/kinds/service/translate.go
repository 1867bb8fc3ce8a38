package service

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// isOwnAddress tells whether a tenant Service is the address of the tenant's API server itself.
func isOwnAddress(namespace, name string) bool {
	return namespace == metav1.NamespaceDefault && name == "kubernetes"
}

// hostSpec is the spec that the host copy of a tenant Service must have. Namespaces are mapped and names and labels
// of pods never change, so a selector selects on the host exactly the copies of what it selects in the tenant.
func hostSpec(virtualService *corev1.Service) corev1.ServiceSpec {
	virtualSpec := virtualService.Spec
	spec := corev1.ServiceSpec{
		Type:                     serviceType(virtualSpec),
		Ports:                    slices.Clone(virtualSpec.Ports),
		Selector:                 maps.Clone(virtualSpec.Selector),
		SessionAffinity:          virtualSpec.SessionAffinity,
		SessionAffinityConfig:    virtualSpec.SessionAffinityConfig.DeepCopy(),
		PublishNotReadyAddresses: virtualSpec.PublishNotReadyAddresses,
		InternalTrafficPolicy:    clone(virtualSpec.InternalTrafficPolicy),
		TrafficDistribution:      clone(virtualSpec.TrafficDistribution),
	}
	if spec.Type == corev1.ServiceTypeExternalName {
		spec.ExternalName = virtualSpec.ExternalName
		return spec
	}
	spec.ClusterIP = virtualSpec.ClusterIP
	spec.ClusterIPs = slices.Clone(virtualSpec.ClusterIPs)
	spec.IPFamilies = slices.Clone(virtualSpec.IPFamilies)
	spec.IPFamilyPolicy = clone(virtualSpec.IPFamilyPolicy)
	if spec.Type == corev1.ServiceTypeClusterIP {
		return spec
	}
	spec.ExternalTrafficPolicy = virtualSpec.ExternalTrafficPolicy
	spec.HealthCheckNodePort = virtualSpec.HealthCheckNodePort
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		spec.AllocateLoadBalancerNodePorts = clone(virtualSpec.AllocateLoadBalancerNodePorts)
		spec.LoadBalancerClass = clone(virtualSpec.LoadBalancerClass)
		spec.LoadBalancerIP = virtualSpec.LoadBalancerIP
		spec.LoadBalancerSourceRanges = slices.Clone(virtualSpec.LoadBalancerSourceRanges)
	}
	return spec
}

// serviceType is the type with the API's default filled in, for a Service that did not pass an API server.
func serviceType(spec corev1.ServiceSpec) corev1.ServiceType {
	if spec.Type == "" {
		return corev1.ServiceTypeClusterIP
	}
	return spec.Type
}

// refusedExternalIPs are the addresses that a tenant asks the nodes to capture. A Service that got them could take
// over the traffic of any address, another tenant's included.
func refusedExternalIPs(virtualService *corev1.Service) []string {
	return virtualService.Spec.ExternalIPs
}

func clone[T any](value *T) *T {
	if value == nil {
		return nil
	}
	copied := *value
	return &copied
}
