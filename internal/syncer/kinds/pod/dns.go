package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// The kubelet's limit, and the option that it gives pods of policy ClusterFirst.
const (
	maxNameservers = 3
	defaultDots    = "5"
)

// dns makes the pod ask the tenant's DNS where it would ask its cluster's: the host's kubelet knows only the host's.
func (t translation) dns(spec *corev1.PodSpec, tenantNamespace string) {
	switch spec.DNSPolicy {
	case corev1.DNSDefault, corev1.DNSNone:
		return
	case corev1.DNSClusterFirst, "":
		if spec.HostNetwork {
			spec.DNSPolicy = corev1.DNSDefault
			return
		}
	case corev1.DNSClusterFirstWithHostNet:
	}
	asked := spec.DNSConfig
	if asked == nil {
		asked = &corev1.PodDNSConfig{}
	}
	search := []string{tenantNamespace + ".svc." + t.clusterDomain, "svc." + t.clusterDomain, t.clusterDomain}
	spec.DNSPolicy = corev1.DNSNone
	spec.DNSConfig = &corev1.PodDNSConfig{
		Nameservers: firstOf(maxNameservers, union(t.dnsServers, asked.Nameservers)),
		Searches:    union(search, asked.Searches),
		Options:     withDots(asked.Options),
	}
}

func union(first, second []string) []string {
	result := slices.Clone(first)
	for _, value := range second {
		if !slices.Contains(result, value) {
			result = append(result, value)
		}
	}
	return result
}

func firstOf(limit int, values []string) []string { return values[:min(limit, len(values))] }

// withDots adds the option ndots unless the pod has its own.
func withDots(asked []corev1.PodDNSConfigOption) []corev1.PodDNSConfigOption {
	for _, option := range asked {
		if option.Name == "ndots" {
			return asked
		}
	}
	dots := defaultDots
	return append([]corev1.PodDNSConfigOption{{Name: "ndots", Value: &dots}}, asked...)
}
