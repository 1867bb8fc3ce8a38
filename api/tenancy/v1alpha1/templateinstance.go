package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TemplateInstance puts a template into a space, with the rights that the people of the space have there. Those named
// matryoshka-… put SpaceTemplates into spaces and belong to the agent.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=ti,categories=matryoshka
// +kubebuilder:printcolumn:name="Template",type=string,JSONPath=`.status.template`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Sync",type=boolean,JSONPath=`.spec.sync`
// +kubebuilder:printcolumn:name="Repairs",type=integer,JSONPath=`.status.repairs`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 53 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name of a template instance must be a DNS label of at most 53 characters: lower-case letters, digits and '-', beginning and ending with a letter or digit"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.startsWith('matryoshka-') == has(self.spec.spaceTemplate)",message="names that begin with matryoshka- are kept for the templates of the space itself"
type TemplateInstance struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TemplateInstanceSpec   `json:"spec"`
	Status TemplateInstanceStatus `json:"status,omitempty"`
}

// TemplateInstanceList is a list of template instances.
//
// +kubebuilder:object:root=true
type TemplateInstanceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TemplateInstance `json:"items"`
}

// TemplateInstanceSpec says which template, and with which values.
//
// +kubebuilder:validation:XValidation:rule="has(self.template) != has(self.spaceTemplate)",message="an instance is of a template or of a space template"
// +kubebuilder:validation:XValidation:rule="has(self.template) == has(oldSelf.template)",message="an instance stays one of a template or of a space template"
type TemplateInstanceSpec struct {
	// Template is the name of a Template. It cannot be changed.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.template cannot be changed; create another instance"
	Template string `json:"template,omitempty"`

	// SpaceTemplate is the name of a SpaceTemplate. Only the agent sets it.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SpaceTemplate string `json:"spaceTemplate,omitempty"`

	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Parameters []InstanceParameter `json:"parameters,omitempty"`

	// Sync keeps the objects as the template has them: they follow its changes and those of the parameters, what is no longer in it
	// is removed, and what others change is set back. Without it they are made once and then left alone.
	//
	// +kubebuilder:default=true
	Sync *bool `json:"sync,omitempty"`
}

// InstanceParameter is the value of a parameter: data, never a part of a manifest.
//
// +kubebuilder:validation:XValidation:rule="has(self.value) != has(self.valueFrom)",message="a parameter has either value or valueFrom"
type InstanceParameter struct {
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$`
	Name string `json:"name"`

	// Value as text; the parameter's type says how it is read.
	//
	// +kubebuilder:validation:MaxLength=16384
	Value *string `json:"value,omitempty"`

	// ValueFrom takes the value from elsewhere. It is never shown.
	ValueFrom *ParameterSource `json:"valueFrom,omitempty"`
}

// ParameterSource is where a value is.
type ParameterSource struct {
	SecretKeyRef SecretKey `json:"secretKeyRef"`
}

// SecretKey names one key of a Secret of the same namespace.
type SecretKey struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// Reasons why a template instance is not ready, or why it is left as it is.
const (
	ReasonApplied          = "Applied"
	ReasonAppliedOnce      = "AppliedOnce"
	ReasonApplying         = "Applying"
	ReasonNotASpace        = "NotASpace"
	ReasonTooMany          = "TooManyInstances"
	ReasonAsleep           = "Asleep"
	ReasonTemplateMissing  = "TemplateMissing"
	ReasonTemplateCircular = "TemplateCircular"
	ReasonParameters       = "ParametersInvalid"
	ReasonSecretMissing    = "SecretMissing"
	ReasonChartUnavailable = "ChartUnavailable"
	ReasonRenderFailed     = "RenderFailed"
	ReasonObjectRefused    = "ObjectRefused"
	ReasonObjectTaken      = "ObjectTaken"
	ReasonApplyFailed      = "ApplyFailed"
	ReasonIdentityTaken    = "IdentityTaken"
)

// TemplateInstanceStatus is what the agent has observed.
type TemplateInstanceStatus struct {
	// ObservedGeneration is the generation of the spec that this status belongs to.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Template is the kind and the name of what was applied, such as SpaceTemplate/default.
	Template string `json:"template,omitempty"`

	// Rendered is a fingerprint of the objects that were applied last.
	Rendered string `json:"rendered,omitempty"`

	// FirstApplied is when all objects were in place for the first time.
	FirstApplied *metav1.Time `json:"firstApplied,omitempty"`

	// MadeOnce tells that the objects were made without spec.sync and are left alone since.
	MadeOnce bool `json:"madeOnce,omitempty"`

	// Repairs counts how often objects were found changed or missing and were set back.
	Repairs int64 `json:"repairs,omitempty"`

	// LastRepair tells what was set back last, and when.
	LastRepair *TemplateRepair `json:"lastRepair,omitempty"`

	// Objects are those that the template has, and those that it had and that are yet to be removed.
	//
	// +kubebuilder:validation:MaxItems=1000
	// +listType=atomic
	Objects []TemplatedObject `json:"objects,omitempty"`

	// ImagePullSecrets are those that were put into the ServiceAccount default.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// TemplateRepair is a repair of objects that others had changed.
type TemplateRepair struct {
	Time metav1.Time `json:"time"`
	// Objects that were set back, as kind/name.
	//
	// +listType=atomic
	Objects []string `json:"objects"`
}

// ObjectState is how an object of a template is.
//
// +kubebuilder:validation:Enum=Pending;Applied;Refused;Taken;Leaving
type ObjectState string

// The states.
const (
	// ObjectPending is not applied, or not known to be.
	ObjectPending ObjectState = "Pending"
	// ObjectApplied is in place.
	ObjectApplied ObjectState = "Applied"
	// ObjectRefused was not accepted by the host.
	ObjectRefused ObjectState = "Refused"
	// ObjectTaken exists and belongs to somebody else.
	ObjectTaken ObjectState = "Taken"
	// ObjectLeaving is no longer in the template and is being removed.
	ObjectLeaving ObjectState = "Leaving"
)

// TemplatedObject is an object of a template.
type TemplatedObject struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Name       string      `json:"name"`
	UID        types.UID   `json:"uid,omitempty"`
	State      ObjectState `json:"state"`
}
