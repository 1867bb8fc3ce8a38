package endpointslice

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// vouchesFor tells whether a host pod of the tenant makes an address the tenant's. A pod on the host's network has the
// node's address; a finished pod's address may already be somebody else's.
func vouchesFor(hostPod *corev1.Pod) bool {
	if hostPod.Spec.HostNetwork {
		return false
	}
	return hostPod.Status.Phase != corev1.PodSucceeded && hostPod.Status.Phase != corev1.PodFailed
}

// podAddresses are the addresses of a host pod in the form that a slice has them, for the cache index.
func podAddresses(hostPod *corev1.Pod) []string {
	if !vouchesFor(hostPod) {
		return nil
	}
	var addresses []string
	for _, podIP := range hostPod.Status.PodIPs {
		if address, err := netip.ParseAddr(podIP.IP); err == nil {
			addresses = append(addresses, address.String())
		}
	}
	return addresses
}
