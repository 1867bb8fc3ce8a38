package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// SpaceTemplate is what every space has that uses it, before its people come in: limits, network policies, pull secrets. Admins
// of the host cluster write it. It is applied with rights of its own, for few kinds.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=spt,categories=matryoshka
// +kubebuilder:printcolumn:name="Mandatory",type=boolean,JSONPath=`.spec.mandatory`
// +kubebuilder:printcolumn:name="Description",type=string,JSONPath=`.spec.description`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SpaceTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:default={}
	Spec SpaceTemplateSpec `json:"spec,omitempty"`
}

// SpaceTemplateList is a list of space templates.
//
// +kubebuilder:object:root=true
type SpaceTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SpaceTemplate `json:"items"`
}

// SpaceTemplateSpec says what a space has.
type SpaceTemplateSpec struct {
	// Description tells users what the template is for.
	//
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// Mandatory objects cannot be changed or removed by the people of the space, are set back when somebody else does, and follow
	// the template. Otherwise they are made with the space and are then its people's own.
	//
	// +kubebuilder:default=true
	Mandatory *bool `json:"mandatory,omitempty"`

	// Parameters are what the use of the template may or must say, as those of a Template.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Parameters []TemplateParameter `json:"parameters,omitempty"`

	// Labels and Annotations of the space's namespace. Those by which a host cluster is told what to do, such as those of pod
	// security, and those of matryoshka.dev and kubernetes.io are refused.
	//
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]string `json:"annotations,omitempty"`

	// Objects are namespaced objects without a namespace, with parameters in them as in a Template.
	//
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +listType=atomic
	Objects []runtime.RawExtension `json:"objects,omitempty"`

	// Templates are Templates whose objects are put beside them, with the rights of a space template.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Templates []TemplateUse `json:"templates,omitempty"`

	// Secrets are copied into the space from the agent's namespace.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Secrets []OfferedSecret `json:"secrets,omitempty"`
}

// OfferedSecret is a Secret of the agent's namespace that has the label matryoshka.dev/offer and that the chart's value
// templates.offeredSecrets names.
type OfferedSecret struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// ImagePull adds the copy to the pull secrets of the space's ServiceAccount default.
	ImagePull bool `json:"imagePull,omitempty"`
}
