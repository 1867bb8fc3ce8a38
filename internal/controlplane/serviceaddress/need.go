package serviceaddress

import (
	"slices"

	"k8s.io/kubernetes/pkg/apis/core"
)

// needsAddress tells whether the host has to give a Service anything.
func needsAddress(service *core.Service) bool {
	return service.Spec.Type != core.ServiceTypeExternalName && service.Spec.ClusterIP != core.ClusterIPNone
}

func needsNodePort(service *core.Service) bool {
	switch service.Spec.Type {
	case core.ServiceTypeNodePort:
		return true
	case core.ServiceTypeLoadBalancer:
		allocate := service.Spec.AllocateLoadBalancerNodePorts
		return allocate == nil || *allocate || hasNodePort(service)
	default:
		return false
	}
}

// hasNodePort tells whether a port was asked for by number, which a load balancer may do without automatic ports.
func hasNodePort(service *core.Service) bool {
	return slices.ContainsFunc(service.Spec.Ports, func(p core.ServicePort) bool { return p.NodePort != 0 })
}

func needsHealthCheckPort(service *core.Service) bool {
	return service.Spec.Type == core.ServiceTypeLoadBalancer &&
		service.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal
}

// allocatesNodePorts is false for a load balancer that has only the ports it names itself.
func allocatesNodePorts(service *core.Service) bool {
	if service.Spec.Type == core.ServiceTypeLoadBalancer {
		allocate := service.Spec.AllocateLoadBalancerNodePorts
		return allocate == nil || *allocate
	}
	return service.Spec.Type == core.ServiceTypeNodePort
}

// wantsMore tells whether an update lacks something or names something that the stored Service does not have. It is
// called after keepAllocated.
func wantsMore(service, old *core.Service) bool {
	if !needsAddress(service) {
		return false
	}
	return wantsClusterIP(service, old) || wantsNodePort(service, old) || wantsHealthCheckPort(service, old)
}

func wantsClusterIP(service, old *core.Service) bool {
	if service.Spec.ClusterIP == "" || !needsAddress(old) {
		return true
	}
	for _, address := range service.Spec.ClusterIPs {
		if !slices.Contains(old.Spec.ClusterIPs, address) {
			return true
		}
	}
	if !slices.Equal(service.Spec.IPFamilies, old.Spec.IPFamilies) && len(service.Spec.IPFamilies) > 0 {
		return true
	}
	policy, oldPolicy := service.Spec.IPFamilyPolicy, old.Spec.IPFamilyPolicy
	return policy != nil && (oldPolicy == nil || *policy != *oldPolicy)
}

type nodePort struct {
	protocol core.Protocol
	port     int32
}

func nodePorts(service *core.Service) map[nodePort]bool {
	ports := map[nodePort]bool{}
	if !needsNodePort(service) {
		return ports
	}
	for _, p := range service.Spec.Ports {
		ports[nodePort{p.Protocol, p.NodePort}] = true
	}
	return ports
}

func wantsNodePort(service, old *core.Service) bool {
	before := nodePorts(old)
	for wanted := range nodePorts(service) {
		if wanted.port == 0 {
			if allocatesNodePorts(service) {
				return true
			}
			continue
		}
		if !before[wanted] {
			return true
		}
	}
	return false
}

func wantsHealthCheckPort(service, old *core.Service) bool {
	if !needsHealthCheckPort(service) {
		return false
	}
	return service.Spec.HealthCheckNodePort == 0 || !needsHealthCheckPort(old) ||
		service.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort
}
