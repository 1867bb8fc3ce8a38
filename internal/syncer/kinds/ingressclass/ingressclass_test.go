package ingressclass

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func hostClass() *networkingv1.IngressClass {
	return &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true", "team": "secret"}},
		Spec: networkingv1.IngressClassSpec{
			Controller: "example.com/controller",
			Parameters: &networkingv1.IngressClassParametersReference{Kind: "ConfigMap", Name: "settings", Namespace: new("ingress")},
		},
	}
}

func TestTranslateLeavesParametersOut(t *testing.T) {
	want := &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}},
		Spec:       networkingv1.IngressClassSpec{Controller: "example.com/controller"},
	}
	if diff := cmp.Diff(want, translate(hostClass())); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
}

func TestRepair(t *testing.T) {
	want := translate(hostClass())
	edited := want.DeepCopy()
	edited.Spec.Parameters = hostClass().Spec.Parameters
	edited.Annotations = map[string]string{"mine": "yes"}
	repair(edited, want)
	expected := want.DeepCopy()
	expected.Annotations["mine"] = "yes"
	if diff := cmp.Diff(expected, edited); diff != "" {
		t.Errorf("repaired (-want +got):\n%s", diff)
	}
	if needsReplacement(edited, want) {
		t.Error("an edit that can be repaired needs replacement")
	}
	edited.Spec.Controller = "other"
	if !needsReplacement(edited, want) {
		t.Error("another controller can not be repaired")
	}
}
