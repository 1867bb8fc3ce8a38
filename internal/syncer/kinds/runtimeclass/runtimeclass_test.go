package runtimeclass

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMirror(t *testing.T) {
	hostClass := &nodev1.RuntimeClass{
		ObjectMeta: metav1.ObjectMeta{Name: "sandboxed", Annotations: map[string]string{"team": "secret"}}, Handler: "kata",
		Overhead:   &nodev1.Overhead{PodFixed: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("160Mi")}},
		Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"sandbox": "yes"}},
	}
	want := translate(hostClass)
	if diff := cmp.Diff(&nodev1.RuntimeClass{Handler: "kata", Overhead: hostClass.Overhead, Scheduling: hostClass.Scheduling}, want); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
	edited := want.DeepCopy()
	edited.Overhead, edited.Scheduling.NodeSelector = nil, map[string]string{"sandbox": "no"}
	repair(edited, want)
	if diff := cmp.Diff(want, edited); diff != "" || needsReplacement(edited, want) {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	edited.Handler = "runc"
	if !needsReplacement(edited, want) {
		t.Error("another handler can not be repaired")
	}
}
