package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "tenancy.matryoshka.dev", Version: "v1alpha1"}

// SchemeBuilder collects the functions that add this package's types to a scheme.
var SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme adds this package's types to a scheme.
var AddToScheme = SchemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Account{}, &AccountList{},
		&AccountQuota{}, &AccountQuotaList{},
		&Space{}, &SpaceList{},
		&Template{}, &TemplateList{},
		&TemplateInstance{}, &TemplateInstanceList{},
		&SpaceTemplate{}, &SpaceTemplateList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Finalizer keeps an object until the agent has undone what it made for it.
const Finalizer = "tenancy.matryoshka.dev/agent"

// ConditionReady is true when what an object asks for is in place. Every kind of this group has it.
const ConditionReady = "Ready"
