package nodeusage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func requesting(cpu string) corev1.Container {
	return corev1.Container{Name: "c", Image: "secret", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)},
	}}
}

// What is kept of a pod is what it requests and whose it is.
func TestTrim(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	sidecar := requesting("100m")
	sidecar.RestartPolicy = &always
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "p", UID: "u", ResourceVersion: "7", Annotations: map[string]string{"secret": "yes"},
			Labels: map[string]string{mapping.LabelUID: "tenant-1", mapping.LabelTenantNamespace: "default", "secret": "yes"},
		},
		Spec: corev1.PodSpec{
			NodeName:       "n",
			InitContainers: []corev1.Container{sidecar, requesting("1500m")},
			Containers:     []corev1.Container{requesting("1"), requesting("250m")},
			Overhead:       corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "192.0.2.1"},
	}
	object, err := trim(pod)
	if err != nil {
		t.Fatal(err)
	}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "p", UID: "u", ResourceVersion: "7", Labels: map[string]string{mapping.LabelUID: "tenant-1"},
		},
		Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("1610m"), corev1.ResourcePods: resource.MustParse("1"),
		}}}}},
	}
	if diff := cmp.Diff(want, object); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The pod of a control plane carries its tenant's labels, and the tenant does not see it: it must count for it, too.
func TestControlPlaneIsNobodys(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{mapping.LabelUID: "tenant-1"}}}
	if owner := tenantOf(pod); owner != "" {
		t.Errorf("it is counted as the pod of %q", owner)
	}
}
