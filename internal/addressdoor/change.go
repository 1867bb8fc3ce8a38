package addressdoor

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// change is what has to be patched into an existing host Service, as a JSON merge patch.
type change struct {
	annotations map[string]any
	spec        map[string]any
}

func (c change) empty() bool { return len(c.annotations) == 0 && len(c.spec) == 0 }

// patch is bound to the very state that the change was made for.
func (c change) patch(hostService *corev1.Service) map[string]any {
	metadata := map[string]any{"uid": hostService.UID, "resourceVersion": hostService.ResourceVersion}
	if len(c.annotations) > 0 {
		metadata["annotations"] = c.annotations
	}
	patch := map[string]any{"metadata": metadata}
	if len(c.spec) > 0 {
		patch["spec"] = c.spec
	}
	return patch
}

// changeFor tells what a host Service of the tenant lacks to hold the addresses that a tenant Service asks for. It only
// ever adds: what the tenant no longer wants is taken away by the sync, after the tenant's API server has stored it.
func changeFor(hostService, virtualService *corev1.Service, now time.Time) change {
	result := change{annotations: map[string]any{}, spec: map[string]any{}}
	result.extend(hostService, now)
	result.allocateCluster(hostService, virtualService)
	result.allocateNodePorts(hostService, virtualService)
	return result
}

// extend keeps a reservation that is asked for again. Retries in quick succession do not write.
func (c change) extend(hostService *corev1.Service, now time.Time) {
	until, ok := reservedUntil(hostService)
	if ok && until.Sub(now) < reservationTime/2 {
		c.annotations[mapping.AnnotationReservedUntil] = formatTime(now.Add(reservationTime))
	}
}

// allocateCluster asks for a cluster address when the host Service is still an ExternalName, and for the second
// family when it has one only.
func (c change) allocateCluster(hostService, virtualService *corev1.Service) {
	asked := virtualService.Spec
	if hostService.Spec.Type == corev1.ServiceTypeExternalName {
		serviceType, ports := reservedShape(virtualService)
		c.spec["type"], c.spec["ports"] = serviceType, ports
		c.spec["externalName"] = nil
		if asked.ClusterIP != "" {
			c.spec["clusterIP"] = asked.ClusterIP
		}
		if len(asked.ClusterIPs) > 0 {
			c.spec["clusterIPs"] = asked.ClusterIPs
		}
		if len(asked.IPFamilies) > 0 {
			c.spec["ipFamilies"] = asked.IPFamilies
		}
		if asked.IPFamilyPolicy != nil {
			c.spec["ipFamilyPolicy"] = *asked.IPFamilyPolicy
		}
		return
	}
	if !wantsTwoFamilies(asked.IPFamilyPolicy) || len(hostService.Spec.ClusterIPs) > 1 {
		return
	}
	if current := hostService.Spec.IPFamilyPolicy; current != nil && *current == *asked.IPFamilyPolicy {
		return // the host has been asked and has one family only
	}
	c.spec["ipFamilyPolicy"] = *asked.IPFamilyPolicy
	if len(asked.IPFamilies) > 1 {
		c.spec["ipFamilies"] = asked.IPFamilies
	}
	if len(asked.ClusterIPs) > 1 {
		c.spec["clusterIPs"] = asked.ClusterIPs
	}
}

func (c change) allocateNodePorts(hostService, virtualService *corev1.Service) {
	asks := nodePortAsks(virtualService)
	if hostService.Spec.Type == corev1.ServiceTypeExternalName || len(asks) == 0 {
		return
	}
	merged, needed := mergePorts(hostService.Spec.Ports, asks)
	if needed {
		c.spec["ports"] = merged
	}
	if hostService.Spec.Type == corev1.ServiceTypeClusterIP {
		c.spec["type"] = corev1.ServiceTypeNodePort
		c.spec["ports"] = merged
	}
}

func wantsTwoFamilies(policy *corev1.IPFamilyPolicy) bool {
	return policy != nil && *policy != corev1.IPFamilyPolicySingleStack
}

// mustReplace tells that a reservation cannot be changed into what is asked: the addresses of a Service are immutable.
func mustReplace(hostService, virtualService *corev1.Service) bool {
	if hostService.Spec.Type == corev1.ServiceTypeExternalName {
		return false
	}
	asked := virtualService.Spec
	if asked.ClusterIP != "" && asked.ClusterIP != hostService.Spec.ClusterIP {
		return true
	}
	if len(asked.IPFamilies) > 0 && len(hostService.Spec.IPFamilies) > 0 && asked.IPFamilies[0] != hostService.Spec.IPFamilies[0] {
		return true
	}
	for i, address := range asked.ClusterIPs {
		if i < len(hostService.Spec.ClusterIPs) && address != hostService.Spec.ClusterIPs[i] {
			return true
		}
	}
	return false
}
