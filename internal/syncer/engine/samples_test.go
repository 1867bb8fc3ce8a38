package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const usualFields = `{"f:metadata":{"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:pod-template-hash":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:env":{".":{},"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}}}}}}`

func usualPod() *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-7d9c5b8f6d-x2x9z", Namespace: "shop", UID: "4f0c3f0e-7d0a-4a55-9a38-2f8c3f1f0d11", ResourceVersion: "12345",
			Labels:          map[string]string{"app.kubernetes.io/name": "web", "pod-template-hash": "7d9c5b8f6d", "app.kubernetes.io/part-of": "shop"},
			Annotations:     map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7d9c5b8f6d", UID: "9a38-2f8c3f1f0d11"}},
			ManagedFields: []metav1.ManagedFieldsEntry{{
				Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(usualFields),
			}},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "web", NodeName: "node-1", RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, SchedulerName: "default-scheduler",
			Tolerations: []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute"}, {Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute"}},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}}}},
				{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}}}},
			},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "10.0.0.1", PodIP: "10.244.1.7", PodIPs: []corev1.PodIP{{IP: "10.244.1.7"}}},
	}
	for index := range 2 {
		container := corev1.Container{
			Name: fmt.Sprint("web-", index), Image: "registry.example.org/shop/web:1.2.3", Args: []string{"--port=8080", "--verbose"},
			VolumeMounts:  []corev1.VolumeMount{{Name: "config", MountPath: "/etc/web"}, {Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
			Ports:         []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz"}}},
		}
		for variable := range 8 {
			container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprint("VARIABLE_", variable), Value: "some value of it"})
		}
		pod.Spec.Containers = append(pod.Spec.Containers, container)
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: "sha256:0123456789abcdef0123456789abcdef", ContainerID: "containerd://0123456789abcdef0123456789abcdef", Ready: true,
		})
	}
	for _, condition := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionTrue})
	}
	return pod
}

func usualPodJSON(t testing.TB) string {
	t.Helper()
	encoded, err := json.Marshal(usualPod())
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// hostileTexts are small until they are decoded.
func hostileTexts(count int) map[string]string {
	repeat := func(before, each, after string) string {
		return before + strings.TrimSuffix(strings.Repeat(each, count), ",") + after
	}
	distinct := func(before, format, after string) string {
		var text strings.Builder
		for index := range count {
			fmt.Fprintf(&text, format, index)
		}
		return before + strings.TrimSuffix(text.String(), ",") + after
	}
	return map[string]string{
		"Containers":  repeat(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[`, `{},`, `]}}`),
		"Numbers":     repeat(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[`, `1,`, `]}}`),
		"Items":       repeat(`{"kind":"DeploymentList","apiVersion":"apps/v1","items":[`, `{},`, `]}`),
		"Pointers":    repeat(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[`, `{"lifecycle":{"preStop":{"exec":{}}},"securityContext":{"windowsOptions":{}}},`, `]}}`),
		"Strings":     repeat(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"args":[`, `"ab",`, `]}]}}`),
		"Labels":      distinct(`{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{`, `"%x":"",`, `}}}`),
		"Quantities":  distinct(`{"kind":"Pod","apiVersion":"v1","spec":{"overhead":{`, `"%x":1,`, `}}}`),
		"TinyMaps":    repeat(`{"kind":"X","apiVersion":"x/v1","spec":[`, `{"":0},`, `]}`),
		"TinyLists":   repeat(`{"kind":"X","apiVersion":"x/v1","spec":[`, `[0],`, `]}`),
		"NestedMaps":  distinct(`{"kind":"X","apiVersion":"x/v1","spec":{`, `"%x":{"":{"":{"":0}}},`, `}}`),
		"CutShort":    repeat(`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[`, `{"args":["abcdefghijklmnop"]},`, `],"containers":[{}]}}`),
		"NotUTF8":     repeat(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"`, "\xff", `"}}`),
		"APIResource": repeat(`{"kind":"APIResourceList","apiVersion":"v1","resources":[`, `{},`, `]}`),
	}
}

// decodedFrom returns what a text becomes in the decoder of Kubernetes, wrong as it may be.
func decodedFrom(text string, into any) any {
	_ = utiljson.Unmarshal([]byte(text), into)
	return into
}

func untypedFrom(text string) any {
	content := map[string]any{}
	decodedFrom(text, &content)
	return &unstructured.Unstructured{Object: content}
}
