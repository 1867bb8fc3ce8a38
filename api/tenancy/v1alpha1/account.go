package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Account says who may use a host cluster, and how much of it. Its subjects make spaces and virtual clusters in it themselves.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=acc,categories=matryoshka
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Spaces",type=integer,JSONPath=`.status.spaces`
// +kubebuilder:printcolumn:name="VirtualClusters",type=integer,JSONPath=`.status.virtualClusters`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspended`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name of an account must be a DNS label of at most 50 characters: lower-case letters, digits and '-', beginning and ending with a letter or digit"
type Account struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:default={}
	Spec   AccountSpec   `json:"spec,omitempty"`
	Status AccountStatus `json:"status,omitempty"`
}

// AccountList is a list of accounts.
//
// +kubebuilder:object:root=true
type AccountList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Account `json:"items"`
}

// AccountSpec is what the admin of a host cluster grants.
//
// +kubebuilder:validation:XValidation:rule="!has(self.podSecurity) || !has(self.podSecurity.default) || !has(self.podSecurity.maximum) || self.podSecurity.maximum == 'privileged' || self.podSecurity.default == 'restricted' || self.podSecurity.default == self.podSecurity.maximum",message="spec.podSecurity.default must not allow more than spec.podSecurity.maximum"
type AccountSpec struct {
	// Subjects are the users, groups and service accounts that the account belongs to. They need not exist. Nobody else gets
	// anything through the account; none means that only admins of the host cluster use it.
	//
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.kind in ['User', 'Group', 'ServiceAccount'])",message="a subject is of kind User, Group or ServiceAccount"
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.name != '')",message="a subject needs a name"
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.kind == 'ServiceAccount' ? has(s.namespace) && s.namespace != '' : !has(s.namespace) || s.namespace == '')",message="a subject of kind ServiceAccount needs a namespace, others have none"
	// +kubebuilder:validation:XValidation:rule="self.all(s, s.kind != 'Group' || !(s.name in ['system:masters', 'system:unauthenticated']))",message="system:masters and system:unauthenticated cannot be subjects of an account"
	// +listType=atomic
	Subjects []rbacv1.Subject `json:"subjects,omitempty"`

	// Suspended takes all access from the subjects and lets nothing new begin. What there is stays and goes on running.
	Suspended bool `json:"suspended,omitempty"`

	// +kubebuilder:default={}
	Spaces AccountSpaces `json:"spaces,omitempty"`

	// +kubebuilder:default={}
	VirtualClusters AccountVirtualClusters `json:"virtualClusters,omitempty"`

	// StorageClasses, IngressClasses and RuntimeClasses are the classes of the host cluster that may be used in the account's
	// namespaces, those mapped from its virtual clusters included. Nil allows every class, a list without names none.
	StorageClasses *AllowedClasses `json:"storageClasses,omitempty"`
	IngressClasses *AllowedClasses `json:"ingressClasses,omitempty"`
	RuntimeClasses *AllowedClasses `json:"runtimeClasses,omitempty"`

	// NodeSelector limits every pod of the account, control planes included, to nodes with these labels. Empty means every node.
	//
	// +kubebuilder:validation:MaxProperties=16
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations are what pods of the account may tolerate beside what every pod tolerates. Empty means nothing more.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// PriorityClassName is the one PriorityClass of the host cluster that pods of the account have. Empty leaves pods with
	// the default priority of the host cluster and allows no other class.
	//
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// +kubebuilder:default={}
	PodSecurity AccountPodSecurity `json:"podSecurity,omitempty"`
}

// AccountSpaces says which spaces an account may have and how they are made.
type AccountSpaces struct {
	// Limit is how many spaces the account may have. Nil means no limit. A limit below what there is evicts nothing.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Limit *int32 `json:"limit,omitempty"`

	// ClusterRole is what the subjects may do in their spaces. It is bound in spaces only, never in namespaces of virtual clusters.
	//
	// +kubebuilder:default=admin
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClusterRole string `json:"clusterRole,omitempty"`

	// Template is the SpaceTemplate that every new space of the account gets. A space is usable when it is in place.
	Template *SpaceTemplateUse `json:"template,omitempty"`

	// Initial are spaces that are made with the account. They count against the limit. A name that is taken off stays.
	//
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=50
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +listType=set
	Initial []string `json:"initial,omitempty"`

	// Sleep is how spaces sleep that say nothing of their own. Nil means that they never do.
	Sleep *SpaceSleep `json:"sleep,omitempty"`
}

// SpaceTemplateUse names a SpaceTemplate and gives its parameters.
type SpaceTemplateUse struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	Parameters []ParameterValue `json:"parameters,omitempty"`
}

// ParameterValue is the value of a template's parameter: data, never a part of a manifest.
type ParameterValue struct {
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$`
	Name string `json:"name"`

	// Value as text; the parameter's type says how it is read.
	//
	// +kubebuilder:validation:MaxLength=16384
	Value string `json:"value"`
}

// AccountVirtualClusters says how many virtual clusters an account may have.
type AccountVirtualClusters struct {
	// Limit is how many virtual clusters the account may have. Nil means no limit. A limit below what there is evicts nothing.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Limit *int32 `json:"limit,omitempty"`

	// RunningLimit is how many of them may run at a time; the others sleep. Nil means no limit.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	RunningLimit *int32 `json:"runningLimit,omitempty"`

	// SyncWeight is the share of each of them in the work of the agent: while several have work, one of weight 3 gets three pieces
	// done where one of weight 1 gets one. A virtual cluster outside of all accounts has weight 1.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	SyncWeight int32 `json:"syncWeight,omitempty"`
}

// AllowedClasses are the names of classes that may be used.
type AllowedClasses struct {
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	Names []string `json:"names,omitempty"`
}

// PodSecurityLevel is a level of the Pod Security Standards.
//
// +kubebuilder:validation:Enum=privileged;baseline;restricted
type PodSecurityLevel string

// The levels of the Pod Security Standards.
const (
	PodSecurityPrivileged PodSecurityLevel = "privileged"
	PodSecurityBaseline   PodSecurityLevel = "baseline"
	PodSecurityRestricted PodSecurityLevel = "restricted"
)

// AccountPodSecurity says which Pod Security Standard holds in the account's namespaces.
type AccountPodSecurity struct {
	// Default is enforced in spaces.
	//
	// +kubebuilder:default=baseline
	Default PodSecurityLevel `json:"default,omitempty"`

	// Maximum is the most that a virtual cluster of the account may ask for.
	//
	// +kubebuilder:default=baseline
	Maximum PodSecurityLevel `json:"maximum,omitempty"`
}

// Conditions and reasons of an Account.
const (
	// ConditionWithinLimits is false while the account has more spaces or virtual clusters than its limits allow, which is so after
	// a limit was lowered.
	ConditionWithinLimits = "WithinLimits"

	// ConditionInitialSpaces is false while a space of spec.spaces.initial cannot be made. It is missing where there are none.
	ConditionInitialSpaces = "InitialSpaces"

	// ConditionRulesEnforced is false while the account says something of classes, nodes, taints or priority that cannot be held to.
	ConditionRulesEnforced = "RulesEnforced"

	// ReasonSuspended is why an account or a space is not ready that is suspended.
	ReasonSuspended = "Suspended"
)

// AccountStatus is what the agent has observed.
type AccountStatus struct {
	// ObservedGeneration is the generation of the spec that this status belongs to.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Spaces, VirtualClusters and RunningVirtualClusters are how many there are. One controller writes them; another, which writes a
	// condition, may be first.
	//
	// +optional
	Spaces int32 `json:"spaces"`
	// +optional
	VirtualClusters int32 `json:"virtualClusters"`
	// +optional
	RunningVirtualClusters int32 `json:"runningVirtualClusters"`

	// InitialSpaces are those of spec.spaces.initial that were made. They are not made again when somebody deletes them.
	//
	// +listType=set
	InitialSpaces []string `json:"initialSpaces,omitempty"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
