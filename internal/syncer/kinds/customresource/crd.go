package customresource

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Annotations of a host's CustomResourceDefinition by which whoever runs the host says how the kind is copied. Each holds
// paths, separated by commas.
const (
	// AnnotationReferences are fields that hold the name of a namespace, in addition to those that the VirtualCluster declares.
	AnnotationReferences = "matryoshka.dev/namespace-references"
	// AnnotationPlain are fields that look like names of namespaces and are none.
	AnnotationPlain = "matryoshka.dev/plain-fields"
	// AnnotationRefused are fields that tenants may not set.
	AnnotationRefused = "matryoshka.dev/refused-fields"
)

// syncedVersion is the version in which both sides are read and written: the stored one, or else the first that is served.
func syncedVersion(definition *apiextensionsv1.CustomResourceDefinition) (*apiextensionsv1.CustomResourceDefinitionVersion, bool) {
	var served *apiextensionsv1.CustomResourceDefinitionVersion
	for index := range definition.Spec.Versions {
		version := &definition.Spec.Versions[index]
		if version.Served && (served == nil || version.Storage) {
			served = version
		}
	}
	return served, served != nil
}

// tenantDefinition is the tenant's copy of a host's definition. It has no conversion webhook, and then only the version that
// is synced is served: without the webhook the others would be that one under another name. Of annotations only the one goes
// over without which the API server refuses groups of Kubernetes' own.
func tenantDefinition(host *apiextensionsv1.CustomResourceDefinition, synced string) *apiextensionsv1.CustomResourceDefinition {
	copied := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: host.Name, Labels: map[string]string{mapping.LabelMirror: "true"}},
		Spec:       *host.Spec.DeepCopy(),
	}
	if approved := host.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation]; approved != "" {
		copied.Annotations = map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: approved}
	}
	isConverted := host.Spec.Conversion != nil && host.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter
	copied.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
	copied.Spec.PreserveUnknownFields = false
	for index := range copied.Spec.Versions {
		version := &copied.Spec.Versions[index]
		version.Storage = version.Name == synced
		version.Served = version.Served && (!isConverted || version.Storage)
	}
	return copied
}

func rulesOf(asked clusterv1alpha1.CustomResource, definition metav1.Object) rules {
	said := func(annotation string) sets.Set[string] {
		paths := sets.New[string]()
		for path := range strings.SplitSeq(definition.GetAnnotations()[annotation], ",") {
			if path = strings.TrimSpace(path); path != "" {
				paths.Insert(path)
			}
		}
		return paths
	}
	return rules{
		references: said(AnnotationReferences).Insert(asked.References...).Insert(builtIns[asked.Name].references...),
		plain:      said(AnnotationPlain),
		refused:    said(AnnotationRefused),
	}
}
