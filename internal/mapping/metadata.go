package mapping

import "strings"

// steering are the prefixes of labels and annotations by which parts of the host (injectors, cloud identity webhooks,
// autoscalers, the kubelet) are told what to do with a pod. A tenant must not steer the host, so they stay in the
// tenant. A prefix without '/' is a domain: its subdomains are meant too.
var steering = []string{
	"matryoshka.dev",
	"istio.io",
	"linkerd.io",
	"azure.workload.identity",
	"eks.amazonaws.com",
	"iam.amazonaws.com",
	"iam.gke.io",
	"vault.hashicorp.com",
	"consul.hashicorp.com",
	"dapr.io",
	"cluster-autoscaler.kubernetes.io",
	"karpenter.sh",
	"descheduler.alpha.kubernetes.io",
	"pod-security.kubernetes.io",
	"kubectl.kubernetes.io",
	"openshift.io",
	"cni.projectcalico.org",
	"k8s.v1.cni.cncf.io",
	"ovn.kubernetes.io",
	"k8s.ovn.org",
	"multicluster.admiralty.io",
}

// kubeletSources are annotations that make a pod look like one that the kubelet itself made.
var kubeletSources = map[string]bool{
	"kubernetes.io/config.source": true,
	"kubernetes.io/config.mirror": true,
	"kubernetes.io/config.hash":   true,
	"kubernetes.io/config.seen":   true,
}

// IsCopiedLabel tells whether a label that a tenant put on an object is copied to the host.
func IsCopiedLabel(key string) bool { return !isSteering(key) }

// IsCopiedAnnotation tells whether an annotation that a tenant put on an object is copied to the host.
func IsCopiedAnnotation(key string) bool { return !isSteering(key) && !kubeletSources[key] }

func isSteering(key string) bool {
	domain, _, qualified := strings.Cut(key, "/")
	if !qualified {
		return false
	}
	for _, denied := range steering {
		if domain == denied || strings.HasSuffix(domain, "."+denied) {
			return true
		}
	}
	return false
}
