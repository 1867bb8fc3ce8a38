package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Template is a set of objects with holes in it, or a Helm chart, that users of a host cluster put into their spaces by
// TemplateInstances. Admins of the host cluster write it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=tpl,categories=matryoshka
// +kubebuilder:printcolumn:name="Description",type=string,JSONPath=`.spec.description`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a template may have at most 63 characters"
type Template struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TemplateSpec `json:"spec"`
}

// TemplateList is a list of templates.
//
// +kubebuilder:object:root=true
type TemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Template `json:"items"`
}

// TemplateSpec says what a template makes.
//
// +kubebuilder:validation:XValidation:rule="has(self.manifests) || has(self.helm) || has(self.includes)",message="a template needs manifests, a Helm chart or other templates that it includes"
// +kubebuilder:validation:XValidation:rule="!has(self.manifests) || !has(self.helm)",message="a template has either manifests or a Helm chart; include another template to have both"
type TemplateSpec struct {
	// Description tells users what the template is for.
	//
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// Parameters are what an instance may or must say. A parameter x stands as ${x} in the values of manifests and in the
	// values of a Helm chart. ${namespace} and ${account} are always there.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Parameters []TemplateParameter `json:"parameters,omitempty"`

	// Manifests are namespaced objects without a namespace. A text that is ${x} and nothing else takes the parameter's type;
	// inside of a longer text it is written out; $${x} means the text ${x}. Keys are not replaced, and a value never becomes more
	// than one value.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +listType=atomic
	Manifests []runtime.RawExtension `json:"manifests,omitempty"`

	// Helm is a chart that is rendered without asking the host cluster. Hooks and CRDs are not supported.
	Helm *TemplateHelm `json:"helm,omitempty"`

	// Includes are other templates whose objects are put beside those of this one.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Includes []TemplateUse `json:"includes,omitempty"`
}

// ParameterType says how the text of a parameter's value is read.
//
// +kubebuilder:validation:Enum=string;integer;number;boolean;quantity
type ParameterType string

// The types.
const (
	ParameterString  ParameterType = "string"
	ParameterInteger ParameterType = "integer"
	ParameterNumber  ParameterType = "number"
	ParameterBoolean ParameterType = "boolean"
	// ParameterQuantity is an amount as Kubernetes writes it, such as 500m or 2Gi.
	ParameterQuantity ParameterType = "quantity"
)

// TemplateParameter is a hole in a template.
//
// +kubebuilder:validation:XValidation:rule="!(self.name in ['namespace', 'account'])",message="the parameters namespace and account are given by Matryoshka"
// +kubebuilder:validation:XValidation:rule="!has(self.required) || !self.required || !has(self.default)",message="a parameter with a default is never missing, so that required means nothing"
type TemplateParameter struct {
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$`
	Name string `json:"name"`

	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// +kubebuilder:default=string
	Type ParameterType `json:"type,omitempty"`

	// Required parameters must be given. One that is neither required nor given nor has a default is empty: "", 0 or false.
	Required bool `json:"required,omitempty"`

	// Default is the value where none is given, as text.
	//
	// +kubebuilder:validation:MaxLength=16384
	Default *string `json:"default,omitempty"`

	// Pattern is a regular expression (RE2) that the whole text of the value must match.
	//
	// +kubebuilder:validation:MaxLength=1024
	Pattern string `json:"pattern,omitempty"`

	// Options are the only values that may be given. Empty means that there is no such list.
	//
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=set
	Options []string `json:"options,omitempty"`
}

// TemplateUse names a Template and gives its parameters.
type TemplateUse struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Parameters of the other template; ${x} in a value stands for a parameter of the one that uses it.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Parameters []ParameterValue `json:"parameters,omitempty"`
}

// TemplateHelm is a Helm chart and its values.
type TemplateHelm struct {
	Chart HelmChart `json:"chart"`

	// ReleaseName that the chart sees. Empty means the name of the instance.
	//
	// +kubebuilder:validation:MaxLength=53
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	ReleaseName string `json:"releaseName,omitempty"`

	// Values of the chart, with parameters in them as in manifests. Values that are put in must not contain "{{", since charts may
	// take their values for templates.
	//
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Values *runtime.RawExtension `json:"values,omitempty"`
}

// HelmChart says where a chart is: either in a repository or inline.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type HelmChart struct {
	// That it is one of the two no rule in CEL says: it reads what is inline in another alphabet of base64, and refuses a "+" or a "/".

	Repository *HelmRepository `json:"repository,omitempty"`

	// Inline is the chart itself, a gzipped tar archive as `helm package` makes it, of at most 512 KiB.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=699052
	Inline []byte `json:"inline,omitempty"`
}

// HelmRepository names one version of a chart in a repository.
type HelmRepository struct {
	// URL is where the agent fetches from: https://, http:// or oci:// and a host. Whoever may write templates decides where the
	// agent connects to.
	//
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^(https?|oci)://[^/?#@]+(/[^?#]*)?$`
	URL string `json:"url"`

	// Name of the chart.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`
	Name string `json:"name"`

	// Version of the chart, exactly: what is applied does not change when somebody publishes another one.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?([+_][0-9A-Za-z.-]+)?$`
	Version string `json:"version"`
}
