package pod

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// maxHostname is the kernel's limit.
const maxHostname = 64

// hostname keeps the subdomain from the host's kubelet, which would write the host namespace into /etc/hosts, and has
// the tenant's full name set where the pod asks for it as its hostname.
func (t translation) hostname(virtualPod, hostPod *corev1.Pod) {
	spec := &hostPod.Spec
	if spec.Subdomain == "" {
		return
	}
	hostPod.Annotations[mapping.AnnotationSubdomain] = spec.Subdomain
	if isNamedInFull(virtualPod) {
		full := fullName(virtualPod, t.clusterDomain)
		spec.HostnameOverride = &full
	}
	spec.Subdomain, spec.SetHostnameAsFQDN = "", nil
}

// checkFullName refuses a full name that the kernel does not take, as a kubelet would.
func checkFullName(virtualPod *corev1.Pod, clusterDomain string) error {
	if !isNamedInFull(virtualPod) {
		return nil
	}
	if full := fullName(virtualPod, clusterDomain); len(full) > maxHostname {
		return engine.Refuse(engine.ReasonNotSupported, "spec.setHostnameAsFQDN: the full name %q has %d characters and a hostname at most %d; "+
			"use a shorter name, hostname or subdomain, or remove the field", full, len(full), maxHostname)
	}
	return nil
}

// isNamedInFull tells whether the pod's hostname is its full name. A pod in the node's network has the node's hostname.
func isNamedInFull(virtualPod *corev1.Pod) bool {
	spec := &virtualPod.Spec
	return spec.Subdomain != "" && spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN && !spec.HostNetwork
}

func fullName(virtualPod *corev1.Pod, clusterDomain string) string {
	hostname := virtualPod.Spec.Hostname
	if hostname == "" {
		hostname = virtualPod.Name
	}
	return hostname + "." + virtualPod.Spec.Subdomain + "." + virtualPod.Namespace + ".svc." + clusterDomain
}
