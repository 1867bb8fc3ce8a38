package hostobject

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// content is what differs between the two kinds.
type content interface {
	empty() client.Object
	// refuse tells why an object must not be shown, whoever shares it; "" means that it may be.
	refuse(hostObject client.Object) string
	// fill makes a mirror say what the host's object says; false means that it must be made anew for that.
	fill(mirror, hostObject client.Object) bool
}

type configMap struct{}

func (configMap) empty() client.Object { return &corev1.ConfigMap{} }

func (configMap) refuse(client.Object) string { return "" }

// fill leaves the mirror open to changes even if the host's object is closed to them: that can be made anew.
func (configMap) fill(mirror, hostObject client.Object) bool {
	to, isMirror := mirror.(*corev1.ConfigMap)
	from, isHost := hostObject.(*corev1.ConfigMap)
	if !isMirror || !isHost {
		return false
	}
	isClosed := to.Immutable != nil && *to.Immutable
	if !equality.Semantic.DeepEqual(to.Data, from.Data) || !equality.Semantic.DeepEqual(to.BinaryData, from.BinaryData) {
		to.Data, to.BinaryData = from.Data, from.BinaryData
	}
	return !isClosed
}

type secret struct{}

func (secret) empty() client.Object { return &corev1.Secret{} }

func (secret) refuse(hostObject client.Object) string {
	hostSecret, ok := hostObject.(*corev1.Secret)
	if !ok || hostSecret.Type == corev1.SecretTypeServiceAccountToken || hostSecret.Type == corev1.SecretTypeBootstrapToken {
		return "it is a credential of the host's API server, which no virtual cluster gets; use another Secret"
	}
	return ""
}

func (secret) fill(mirror, hostObject client.Object) bool {
	to, isMirror := mirror.(*corev1.Secret)
	from, isHost := hostObject.(*corev1.Secret)
	if !isMirror || !isHost {
		return false
	}
	isFixed := to.Immutable != nil && *to.Immutable || to.Type != "" && to.Type != from.Type
	if !equality.Semantic.DeepEqual(to.Data, from.Data) {
		to.Data = from.Data
	}
	to.Type = from.Type
	return !isFixed
}
