package mapping

import "strings"

// copiedAnnotations are all annotations of a tenant that go to the host. Annotations are how parts of a host are told what to
// do (injectors, networks, cloud identity, load balancers, autoscalers, backup), and nobody knows them all, so that only what
// reads nothing but the object itself is here. The tenant's pods see their own annotations, whatever the host has.
var copiedAnnotations = map[string]bool{
	"kubectl.kubernetes.io/default-container": true,
	"prometheus.io/path":                      true,
	"prometheus.io/port":                      true,
	"prometheus.io/scheme":                    true,
	"prometheus.io/scrape":                    true,
	"service.kubernetes.io/topology-mode":     true,
}

// steering are the domains of labels by which parts of a host are told what to do with a pod. Labels cannot be few, as
// annotations are: the tenant's Services, policies and affinities select by them on the host. Subdomains are meant too.
var steering = []string{
	"matryoshka.dev",
	// Sidecars and what is injected.
	"istio.io", "linkerd.io", "kuma.io", "dapr.io", "datadoghq.com", "dynatrace.com", "newrelic.com", "opentelemetry.io",
	"consul.hashicorp.com", "vault.hashicorp.com",
	// Identity at a cloud.
	"azure.workload.identity", "eks.amazonaws.com", "iam.amazonaws.com", "iam.gke.io",
	// Networks and addresses.
	"cilium.io", "projectcalico.org", "cni.cncf.io", "ovn.kubernetes.io", "ovn.org", "antrea.io", "metallb.io", "metallb.universe.tf",
	"kube-vip.io", "external-dns.alpha.kubernetes.io",
	// Who schedules, scales and moves pods.
	"cluster-autoscaler.kubernetes.io", "karpenter.sh", "descheduler.alpha.kubernetes.io", "kueue.x-k8s.io", "volcano.sh",
	"yunikorn.apache.org", "multicluster.admiralty.io", "virtual-kubelet.io", "kubevirt.io",
	// Policies, and tools that remove what they believe to be theirs.
	"pod-security.kubernetes.io", "kyverno.io", "gatekeeper.sh", "openshift.io", "addonmanager.kubernetes.io", "kubectl.kubernetes.io",
	"argocd.argoproj.io", "toolkit.fluxcd.io", "velero.io",
}

// steeringNames begin labels without a domain that mean something to a host: the identity of a pod for its network and its
// container runtime, where a label could claim those of a foreign namespace or account.
var steeringNames = []string{"io.cilium.", "io.kubernetes.", "io.containerd.", "io.cri-containerd", "aadpodidbinding", "kubevirt.io"}

// IsCopiedLabel tells whether a label that a tenant put on an object is copied to the host.
func IsCopiedLabel(key string) bool { return !IsSteering(key) }

// IsCopiedAnnotation tells whether an annotation that a tenant put on an object is copied to the host.
func IsCopiedAnnotation(key string) bool { return copiedAnnotations[key] }

// CopiedAnnotations are the annotations that are copied to the host, in no order.
func CopiedAnnotations() []string {
	keys := make([]string, 0, len(copiedAnnotations))
	for key := range copiedAnnotations {
		keys = append(keys, key)
	}
	return keys
}

// SteeringLabels are the domains, and the beginnings of keys without a domain, of labels that stay in the tenant.
func SteeringLabels() (domains, names []string) {
	return append(domains, steering...), append(names, steeringNames...)
}

// IsSteering tells whether a label or annotation is of a domain by which parts of a host are told what to do.
func IsSteering(key string) bool {
	domain, _, qualified := strings.Cut(key, "/")
	if !qualified {
		for _, name := range steeringNames {
			if strings.HasPrefix(key, name) {
				return true
			}
		}
		return false
	}
	for _, denied := range steering {
		if domain == denied || strings.HasSuffix(domain, "."+denied) {
			return true
		}
	}
	return false
}
