package pod

import (
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// environment translates the environment variables of a pod's containers.
type environment struct {
	virtualPod *corev1.Pod
	apiServer  []corev1.EnvVar
}

func environmentOf(virtualPod *corev1.Pod, serviceAddress string) environment {
	return environment{virtualPod: virtualPod, apiServer: apiServerEnv(serviceAddress)}
}

// apiServerEnv are the variables by which programs find the API server. The host's kubelet would set them to the
// host's; what the pod itself sets wins.
func apiServerEnv(address string) []corev1.EnvVar {
	url := "tcp://" + net.JoinHostPort(address, "443")
	return []corev1.EnvVar{
		{Name: "KUBERNETES_SERVICE_HOST", Value: address},
		{Name: "KUBERNETES_SERVICE_PORT", Value: "443"},
		{Name: "KUBERNETES_SERVICE_PORT_HTTPS", Value: "443"},
		{Name: "KUBERNETES_PORT", Value: url},
		{Name: "KUBERNETES_PORT_443_TCP", Value: url},
		{Name: "KUBERNETES_PORT_443_TCP_PROTO", Value: "tcp"},
		{Name: "KUBERNETES_PORT_443_TCP_PORT", Value: "443"},
		{Name: "KUBERNETES_PORT_443_TCP_ADDR", Value: address},
	}
}

func (e environment) translate(virtual []corev1.EnvVar) []corev1.EnvVar {
	own := sets.New[string]()
	for _, variable := range virtual {
		own.Insert(variable.Name)
	}
	host := make([]corev1.EnvVar, 0, len(virtual)+len(e.apiServer))
	// They come first, since later variables may refer to earlier ones.
	for _, variable := range e.apiServer {
		if !own.Has(variable.Name) {
			host = append(host, variable)
		}
	}
	for _, variable := range virtual {
		host = append(host, e.variable(variable))
	}
	return host
}

func (e environment) variable(variable corev1.EnvVar) corev1.EnvVar {
	if variable.ValueFrom == nil {
		return variable
	}
	if ref := variable.ValueFrom.ConfigMapKeyRef; ref != nil {
		renamed := ref.DeepCopy()
		renamed.Name = mapping.HostName("ConfigMap", ref.Name)
		return corev1.EnvVar{Name: variable.Name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: renamed}}
	}
	if ref := variable.ValueFrom.FieldRef; ref != nil {
		if _, ok := metaValue(e.virtualPod, ref.FieldPath); ok {
			path := "metadata.annotations['" + mapping.FieldAnnotation(ref.FieldPath) + "']"
			return corev1.EnvVar{Name: variable.Name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: ref.APIVersion, FieldPath: path}}}
		}
		if value, ok := fieldValue(e.virtualPod, ref.FieldPath); ok {
			return corev1.EnvVar{Name: variable.Name, Value: literal(value)}
		}
	}
	return variable
}

// literal keeps the kubelet from expanding $(NAME) in a value that was not written to be expanded.
func literal(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// fieldValue is the value of a field of the tenant's pod that the host pod would answer differently; ok is false for
// those that it answers alike (its name, node and addresses).
func fieldValue(virtualPod *corev1.Pod, path string) (value string, ok bool) {
	switch path {
	case "metadata.namespace":
		return virtualPod.Namespace, true
	case "metadata.uid":
		return string(virtualPod.UID), true
	case "spec.serviceAccountName":
		return virtualPod.Spec.ServiceAccountName, true
	case "metadata.labels":
		return formatMap(virtualPod.Labels), true
	case "metadata.annotations":
		return formatMap(withoutMarker(virtualPod.Annotations)), true
	}
	return metaValue(virtualPod, path)
}

// metaValue is the value of one label or annotation of the tenant's pod. Unlike its other fields they can change.
func metaValue(virtualPod *corev1.Pod, path string) (value string, ok bool) {
	if key, found := subscript(path, "metadata.labels"); found {
		return virtualPod.Labels[key], true
	}
	if key, found := subscript(path, "metadata.annotations"); found {
		return virtualPod.Annotations[key], true
	}
	return "", false
}

// subscript is the key of a path such as metadata.labels['key'].
func subscript(path, field string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// fieldAnnotations are the values of labels and annotations that containers have as environment variables. One that is
// missing is empty for a kubelet, too.
func fieldAnnotations(virtualPod *corev1.Pod) map[string]string {
	values := map[string]string{}
	add := func(variables []corev1.EnvVar) {
		for _, variable := range variables {
			if variable.ValueFrom == nil || variable.ValueFrom.FieldRef == nil {
				continue
			}
			path := variable.ValueFrom.FieldRef.FieldPath
			if value, ok := metaValue(virtualPod, path); ok {
				values[mapping.FieldAnnotation(path)] = value
			}
		}
	}
	eachContainer(&virtualPod.Spec, func(container *corev1.Container) { add(container.Env) })
	for index := range virtualPod.Spec.EphemeralContainers {
		add(virtualPod.Spec.EphemeralContainers[index].Env)
	}
	return values
}

func renameEnvFrom(from []corev1.EnvFromSource) {
	for index := range from {
		if ref := from[index].ConfigMapRef; ref != nil {
			ref.Name = mapping.HostName("ConfigMap", ref.Name)
		}
	}
}
