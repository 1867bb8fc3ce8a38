package serviceaddress

import (
	"slices"

	"k8s.io/kubernetes/pkg/apis/core"
)

// keepAllocated repeats patchAllocatedValues of k8s.io/kubernetes/pkg/registry/core/service/storage, which the API
// server runs after admission: a client that sends its original manifest again means the values that it got.
func keepAllocated(service, old *core.Service) {
	if service.Spec.Type != core.ServiceTypeExternalName && old.Spec.Type != core.ServiceTypeExternalName {
		if service.Spec.ClusterIP == "" {
			service.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(service.Spec.ClusterIPs) == 0 {
			service.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
	}
	if allocatesNodePorts(service) && allocatesNodePorts(old) {
		keepNodePorts(service, old)
	}
	if needsHealthCheckPort(service) && needsHealthCheckPort(old) && service.Spec.HealthCheckNodePort == 0 {
		service.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts matches ports by name. A number that the new Service already uses is not given to a second port.
func keepNodePorts(service, old *core.Service) {
	taken := map[int32]bool{}
	for _, p := range service.Spec.Ports {
		if p.NodePort != 0 {
			taken[p.NodePort] = true
		}
	}
	byName := map[string]int32{}
	for _, p := range old.Spec.Ports {
		byName[p.Name] = p.NodePort
	}
	for i := range service.Spec.Ports {
		p := &service.Spec.Ports[i]
		if kept := byName[p.Name]; p.NodePort == 0 && !taken[kept] {
			p.NodePort = kept
		}
	}
}
