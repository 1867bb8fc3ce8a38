// Package secret copies the Secrets that pods and Ingresses refer to.
//
// How and when is package referenced's business. Invariants: the contents are held only while they are copied, never
// logged and never cached; the host copy has no type that a controller of the host acts on.
package secret

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
)

// NewCopier makes the copier of Secrets; names are those that a pod refers to, and isRequired tells of one whether it
// must exist. Referrers are what else refers to Secrets.
func NewCopier(names func(pod *corev1.Pod) []string, isRequired func(pod *corev1.Pod, name string) bool, referrers ...referenced.Referrer) *referenced.Copier {
	return referenced.NewCopier(referenced.Type{
		Kind:  "secret",
		Empty: func() client.Object { return &corev1.Secret{} },
		Fill:  fill,
		Names: names, IsRequired: isRequired, Referrers: referrers,
	})
}

func fill(host, virtual client.Object) bool {
	hostSecret, isHost := host.(*corev1.Secret)
	virtualSecret, isVirtual := virtual.(*corev1.Secret)
	if !isHost || !isVirtual {
		return true
	}
	was := hostSecret.Type
	hostSecret.Data, hostSecret.Type = virtualSecret.Data, hostType(virtualSecret.Type)
	// The type cannot change.
	return was == "" || was == hostSecret.Type
}

// hostType keeps the types by which the kubelet finds pull secrets and ingress controllers find certificates. The others
// would only have their form checked once more, or, as service-account-token, wake the host's own controllers.
func hostType(virtualType corev1.SecretType) corev1.SecretType {
	switch virtualType {
	case corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg, corev1.SecretTypeTLS:
		return virtualType
	default:
		return corev1.SecretTypeOpaque
	}
}
