package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Space is a namespace of the host cluster, of the same name, that belongs to an account.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=sp,categories=matryoshka
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.spec.account`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Asleep",type=string,JSONPath=`.status.conditions[?(@.type=="Asleep")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name of a space must be a DNS label of at most 50 characters: lower-case letters, digits and '-', beginning and ending with a letter or digit"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.matches('^(kube|vc|vcp|matryoshka)-') && self.metadata.name != 'default'",message="the name is of a kind that is kept for the host cluster and for Matryoshka itself: default, kube-, vc-, vcp- and matryoshka-"
type Space struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SpaceSpec   `json:"spec"`
	Status SpaceStatus `json:"status,omitempty"`
}

// SpaceList is a list of spaces.
//
// +kubebuilder:object:root=true
type SpaceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Space `json:"items"`
}

// SpaceSpec is what the owner of a space asks for.
type SpaceSpec struct {
	// Account that the space belongs to. It cannot be changed.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.account cannot be changed; create a new space in the other account"
	Account string `json:"account"`

	// Adopt takes over a namespace of this name that exists already. Only who may delete the namespace can ask for it. Deleting the
	// space deletes the namespace, adopted or not. It cannot be changed.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.adopt cannot be changed"
	// +kubebuilder:default=false
	Adopt bool `json:"adopt"`

	// Template is a SpaceTemplate that the space gets beside the one of its account.
	Template *SpaceTemplateUse `json:"template,omitempty"`

	// Sleep is how the space sleeps. Nil takes what the account says.
	Sleep *SpaceSleep `json:"sleep,omitempty"`
}

// Conditions and reasons of a Space.
const (
	// ConditionTemplatesApplied is true when the templates of the space are in place. It is missing where there are none.
	ConditionTemplatesApplied = "TemplatesApplied"

	// ReasonNoAccount, ReasonNamespaceTaken and ReasonLimitReached are why a space is not ready.
	ReasonNoAccount      = "NoAccount"
	ReasonNamespaceTaken = "NamespaceTaken"
	ReasonLimitReached   = "LimitReached"
)

// SpaceStatus is what the agent has observed.
type SpaceStatus struct {
	// ObservedGeneration is the generation of the spec that this status belongs to.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// NamespaceUID is the UID of the space's namespace. A namespace of this name with another UID is not the space's.
	NamespaceUID types.UID `json:"namespaceUID,omitempty"`

	// +optional
	Sleep SleepStatus `json:"sleep,omitzero"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
