// Package mapping says how an object of a virtual cluster is found on the host, and back: namespaces are mapped,
// names never change.
//
// It is pure: no client, no state. Its invariants: the namespace mapping is injective over all virtual clusters; the
// reverse direction is read from labels and never parsed out of a name; a tenant can set none of the labels and
// annotations below on a host object.
package mapping

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// Labels of host objects. Everything the agent makes for a virtual cluster carries LabelID; host caches select on it.
const (
	prefix = "matryoshka.dev/"

	// LabelKind is the kind of a namespace: KindSpace, KindMapped or KindControl.
	LabelKind = prefix + "kind"
	// LabelID is the ID of the virtual cluster that a host object belongs to.
	LabelID = prefix + "virtual-cluster-id"
	// LabelUID is the UID of that VirtualCluster object.
	LabelUID = prefix + "virtual-cluster-uid"
	// LabelName is the name of that VirtualCluster object.
	LabelName = prefix + "virtual-cluster"
	// LabelNamespace is the namespace of that VirtualCluster object.
	LabelNamespace = prefix + "virtual-cluster-namespace"
	// LabelTenantNamespace is the tenant's name of the namespace that a mapped namespace, or an object in it, stands for.
	LabelTenantNamespace = prefix + "tenant-namespace"
	// LabelAccount is the account that a namespace belongs to.
	LabelAccount = prefix + "account"
	// LabelAccountBucket is, on an Account and on what gives rights to its people, the bucket of the account: see package grant.
	LabelAccountBucket = prefix + "account-bucket"
	// LabelSpaceUID is, on the namespace of a space, the UID of that Space object.
	LabelSpaceUID = prefix + "space-uid"
	// LabelSuspended marks, with value "true", the namespaces of an account that is suspended.
	LabelSuspended = prefix + "suspended"
	// LabelAdopt is, on a namespace that an account may take over as a space, the name of that account. Whoever the namespace
	// belongs to sets it; the agent never does.
	LabelAdopt = prefix + "adopt"
	// LabelSlot marks the Leases that are slots of accounts; its value says what they count.
	LabelSlot = prefix + "slot"

	// LabelMandatory marks, with value "true", an object in a space that its people cannot change or remove. A policy of the
	// chart holds them to it, and keeps them from setting the label.
	LabelMandatory = prefix + "mandatory"
	// LabelAccountQuota is, on a ResourceQuota of the host, the AccountQuota that it holds a part of.
	LabelAccountQuota = prefix + "account-quota"

	// LabelIngress and LabelEgress are, on a host pod, whether network policies of the tenant select it in this direction;
	// see package fence.
	LabelIngress = prefix + "ingress"
	LabelEgress  = prefix + "egress"
	// LabelIngressController marks, with value "true", the host namespaces whose pods bring in the traffic of Ingresses. Whoever
	// runs the host sets it.
	LabelIngressController = prefix + "ingress-controller"

	// LabelOffer is, on a class of the host (such as a StorageClass) or on another object that can be shown to virtual clusters,
	// whether they may use it: "true" or "false". Whoever runs the host sets it.
	LabelOffer = prefix + "offer"

	// NamespaceLabelPrefix begins the host form of a tenant's namespace label; see HostNamespaceLabel.
	NamespaceLabelPrefix = "ns.matryoshka.dev/"

	// FieldAnnotationPrefix begins the annotations of a host pod that hold values of its tenant's pod; see FieldAnnotation.
	FieldAnnotationPrefix = "field.matryoshka.dev/"
)

// Values of LabelKind.
const (
	KindSpace   = "space"
	KindMapped  = "mapped"
	KindControl = "control"
)

// Annotations. Those of host objects tell which tenant object a copy belongs to.
const (
	// AnnotationTenantUID is, on a host object, the UID of the tenant object it is the copy of.
	AnnotationTenantUID = prefix + "tenant-uid"
	// AnnotationTenantName is, on a host object whose name differs (see HostName), the tenant's name.
	AnnotationTenantName = prefix + "tenant-name"
	// AnnotationHostUID is, on a tenant pod, the UID of its host pod. It is the marker that the host pod has existed.
	AnnotationHostUID = prefix + "host-uid"
	// AnnotationSleepEpoch is, on a host pod, how often the virtual cluster had slept when the pod was made; on a tenant pod, that of
	// its last host pod. A host pod of an earlier epoch is gone because the virtual cluster slept, and is made again.
	AnnotationSleepEpoch = prefix + "sleep-epoch"
	// AnnotationSleptThrough is, on a host pod that was made anew after a sleep, what its tenant pod's containers had behind them.
	AnnotationSleptThrough = prefix + "slept-through"
	// AnnotationSubdomain is, on a host pod, the subdomain of the tenant pod; the host pod has none of its own,
	// since the kubelet would write the host namespace into /etc/hosts.
	AnnotationSubdomain = prefix + "subdomain"
	// AnnotationReservedUntil is, on a host Service, the RFC 3339 time at which an unused address reservation may
	// be collected. It is removed when the sync takes the Service over.
	AnnotationReservedUntil = prefix + "reserved-until"
	// AnnotationCopiedLabels and AnnotationCopiedAnnotations are, on a host object, the keys that came from the tenant,
	// joined by commas: what the tenant removes is removed, what the host's own controllers added stays.
	AnnotationCopiedLabels      = prefix + "copied-labels"
	AnnotationCopiedAnnotations = prefix + "copied-annotations"
	// AnnotationContent is, on a copy of a custom resource, a fingerprint of the content that was copied.
	AnnotationContent = prefix + "content"
	// AnnotationMirrored is, on the mirror of a node, what of it came from the host; what else is on it is the tenant's own.
	AnnotationMirrored = prefix + "mirrored"
	// AnnotationMirrorOf is, on the mirror of a ConfigMap or Secret, its own namespace and name: a copy that the tenant makes of it
	// under another name is the tenant's.
	AnnotationMirrorOf = prefix + "mirror-of"
	// AnnotationHolder is, on a slot, the namespace and name of the object that holds it.
	AnnotationHolder = prefix + "holder"
	// LabelMirror marks, with value "true", a tenant object that is a mirror of a host object.
	LabelMirror = prefix + "mirror"
)

// FinalizerTerminalStatus is on the host pods of Jobs. It keeps them until their end is written down in the tenant: a Job
// counts a pod that vanishes without having succeeded as failed.
const FinalizerTerminalStatus = prefix + "terminal-status"

// ReservedPrefix begins the host names of objects that the agent makes for itself in mapped namespaces. A tenant
// object whose name begins with it is refused.
const ReservedPrefix = "matryoshka-"

// FrontDoorDomain is the domain under which the front door knows virtual clusters: <id>.<FrontDoorDomain>.
const FrontDoorDomain = "vc.matryoshka.internal"

const idLength = 8

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID returns a random ID of 8 characters, [a-z2-7]. The caller reserves it by creating ControlNamespace(id).
func NewID() string {
	var random [5]byte
	// crypto/rand.Read never returns an error: it ends the process instead.
	_, _ = rand.Read(random[:])
	return encoding.EncodeToString(random[:])
}

// IsID tells whether s has the form of an ID.
func IsID(s string) bool {
	if len(s) != idLength {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// ControlNamespace is the host namespace of a virtual cluster's control plane.
func ControlNamespace(id string) string { return "vcp-" + id }

// ServerName is the TLS server name by which the front door knows a virtual cluster.
func ServerName(id string) string { return id + "." + FrontDoorDomain }

// maxPlain is the longest host namespace name that is used as it is. A longer one is hashed to exactly 63
// characters, so that a hashed name never equals a plain one.
const (
	maxPlain   = 62
	hashedSize = 63
)

// HostNamespace is the mapped namespace that stands for a namespace of the virtual cluster with this ID.
// The tenant namespace must be a valid namespace name.
func HostNamespace(id, tenantNamespace string) string {
	plain := fmt.Sprintf("vc-%s-%s", id, tenantNamespace)
	if len(plain) <= maxPlain {
		return plain
	}
	sum := sha256.Sum256([]byte(tenantNamespace))
	digest := encoding.EncodeToString(sum[:])[:32]
	head := plain[:hashedSize-1-len(digest)]
	return head + "-" + digest
}

// hostNames are the objects that the host itself puts into every namespace. Their tenant namesakes have another name
// on the host.
var hostNames = map[string]string{
	"ConfigMap/kube-root-ca.crt": ReservedPrefix + "kube-root-ca.crt",
}

// HostName is the name on the host of a tenant object: the same name, but for the few that the host makes itself.
func HostName(kind, tenantName string) string {
	if name, ok := hostNames[kind+"/"+tenantName]; ok {
		return name
	}
	return tenantName
}

// TenantName is the reverse of HostName: the tenant's name of a host copy. It is for names that HostName made; whether a
// host object is a copy at all is read from its labels.
func TenantName(kind, hostName string) string {
	for qualified, name := range hostNames {
		if name == hostName && strings.HasPrefix(qualified, kind+"/") {
			return strings.TrimPrefix(qualified, kind+"/")
		}
	}
	return hostName
}

// IsReserved tells whether a tenant's object name would collide with names that the agent uses itself.
func IsReserved(tenantName string) bool { return strings.HasPrefix(tenantName, ReservedPrefix) }

// HostNamespaceLabel is the host form of a label key that a tenant put on a namespace: a hash, since a key can have
// only one '/' and a tenant must never set a label that the host acts on.
func HostNamespaceLabel(tenantKey string) string {
	sum := sha256.Sum256([]byte(tenantKey))
	return NamespaceLabelPrefix + encoding.EncodeToString(sum[:])
}

// FieldAnnotation is the annotation of a host pod that holds the value of a label or annotation of the tenant's pod, named by
// its path such as metadata.labels['app'], for a container that has it as an environment variable: a kubelet reads
// these anew at each start of the container. The key is a hash, so that nothing on the host acts on it.
func FieldAnnotation(path string) string {
	sum := sha256.Sum256([]byte(path))
	return FieldAnnotationPrefix + encoding.EncodeToString(sum[:])
}
