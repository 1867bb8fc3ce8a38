package integration

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// checkPodDefaults: what a pod of a space must have and does not say is filled in, in spaces only, as if its author had said it.
func (w *world) checkPodDefaults(t *testing.T) {
	made := pod("strict", func(spec *corev1.PodSpec) { spec.NodeSelector = map[string]string{"own": "x"} })
	attempt(t, w.member, made, "")
	if want := map[string]string{"own": "x", "pool": "shared", "zone": ""}; !maps.Equal(made.Spec.NodeSelector, want) {
		t.Errorf("the node selector became %v, want %v", made.Spec.NodeSelector, want)
	}
	if made.Spec.PriorityClassName != "tenants" || made.Spec.Priority == nil || *made.Spec.Priority != 10 {
		t.Errorf("the priority became %q, %v; want that of the account's class", made.Spec.PriorityClassName, made.Spec.Priority)
	}
	free := pod("free", func(*corev1.PodSpec) {})
	attempt(t, w.member, free, "")
	if free.Spec.NodeSelector != nil || free.Spec.PriorityClassName != "" {
		t.Errorf("a pod of an account without such rules became %+v", free.Spec)
	}
	mapped := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mapped", Labels: map[string]string{mapping.LabelKind: mapping.KindMapped}}}
	held := strict(t, nil)
	held.Put(&mapped.ObjectMeta)
	if err := w.agent.Create(t.Context(), mapped); err != nil {
		t.Fatal(err)
	}
	w.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "mapped", Name: "account"}})
	attempt(t, w.agent, pod("mapped", func(*corev1.PodSpec) {}), "need these labels")
}
