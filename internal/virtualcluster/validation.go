package virtualcluster

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// validateSpec finds what the schema lets through: to look at every key of a map is beyond what the host allows a rule of
// a schema to cost.
func validateSpec(vc *clusterv1alpha1.VirtualCluster) error {
	errs := metav1validation.ValidateLabels(vc.Spec.Nodes.Selector, field.NewPath("spec", "nodes", "selector"))
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(clusterv1alpha1.GroupVersion.WithKind("VirtualCluster").GroupKind(), vc.Name, errs)
}
