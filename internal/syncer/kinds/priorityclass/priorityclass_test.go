package priorityclass

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMirror(t *testing.T) {
	hostClass := &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{Name: "batch", Annotations: map[string]string{"team": "secret"}},
		Value:      10, GlobalDefault: true, Description: "for batch work", PreemptionPolicy: new(corev1.PreemptNever),
	}
	want := translate(hostClass)
	if diff := cmp.Diff(&schedulingv1.PriorityClass{Value: 10, Description: "for batch work", PreemptionPolicy: new(corev1.PreemptNever)}, want); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
	edited := want.DeepCopy()
	edited.GlobalDefault, edited.Description = true, "mine"
	repair(edited, want)
	if diff := cmp.Diff(want, edited); diff != "" || needsReplacement(edited, want) {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	for name, change := range map[string]func(*schedulingv1.PriorityClass){
		"value":      func(class *schedulingv1.PriorityClass) { class.Value = 11 },
		"preemption": func(class *schedulingv1.PriorityClass) { class.PreemptionPolicy = nil },
	} {
		changed := want.DeepCopy()
		change(changed)
		if !needsReplacement(changed, want) {
			t.Errorf("another %s can not be repaired", name)
		}
	}
}
