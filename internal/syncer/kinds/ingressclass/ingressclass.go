// Package ingressclass mirrors the IngressClasses of the host into virtual clusters, so that an Ingress can name them.
//
// How mirrors are kept is package mirror's business. The parameters, which name objects of the host, stay there.
package ingressclass

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// Name of the kind.
const Name = "ingressclass"

var class = mirror.Class[*networkingv1.IngressClass]{
	Name: Name, Empty: func() *networkingv1.IngressClass { return &networkingv1.IngressClass{} },
	Translate: translate, NeedsReplacement: needsReplacement, Repair: repair,
	Allowed: func(account *rules.Rules) rules.Classes { return account.IngressClasses },
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

// IsOffered tells whether an IngressClass of the host may be used by this virtual cluster.
func IsOffered(scope *engine.Scope, hostClass *networkingv1.IngressClass) bool {
	return class.IsOfferedTo(scope, hostClass)
}

func translate(hostClass *networkingv1.IngressClass) *networkingv1.IngressClass {
	mirrored := &networkingv1.IngressClass{Spec: networkingv1.IngressClassSpec{Controller: hostClass.Spec.Controller}}
	if isDefault(hostClass) {
		mirrored.Annotations = map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}
	}
	return mirrored
}

func isDefault(class *networkingv1.IngressClass) bool {
	return class.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true"
}

func needsReplacement(have, want *networkingv1.IngressClass) bool {
	return have.Spec.Controller != want.Spec.Controller
}

func repair(have, want *networkingv1.IngressClass) {
	have.Spec.Parameters = nil
	delete(have.Annotations, networkingv1.AnnotationIsDefaultIngressClass)
	if isDefault(want) {
		metav1.SetMetaDataAnnotation(&have.ObjectMeta, networkingv1.AnnotationIsDefaultIngressClass, "true")
	}
}
