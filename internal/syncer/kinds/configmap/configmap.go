// Package configmap copies the ConfigMaps that pods refer to.
//
// How and when is package referenced's business. Invariant: the host copy is never immutable, since the tenant may
// replace its own by a new one of the same name.
package configmap

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/referenced"
)

// NewCopier makes the copier of ConfigMaps; names are those that a pod refers to, and
// isRequired tells of one whether it must exist.
func NewCopier(names func(pod *corev1.Pod) []string, isRequired func(pod *corev1.Pod, name string) bool) *referenced.Copier {
	return referenced.NewCopier(referenced.Type{
		Kind:  "configmap",
		Empty: func() client.Object { return &corev1.ConfigMap{} },
		Fill:  fill,
		Names: names, IsRequired: isRequired,
	})
}

func fill(host, virtual client.Object) bool {
	hostConfigMap, isHost := host.(*corev1.ConfigMap)
	virtualConfigMap, isVirtual := virtual.(*corev1.ConfigMap)
	if isHost && isVirtual {
		hostConfigMap.Data, hostConfigMap.BinaryData = virtualConfigMap.Data, virtualConfigMap.BinaryData
	}
	return true
}
