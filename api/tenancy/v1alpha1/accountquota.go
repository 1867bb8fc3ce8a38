package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AccountQuota bounds what an account uses, counted over all of its namespaces: spaces, namespaces mapped from virtual clusters
// and those of control planes. Several quotas of one account must all hold.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=aq,categories=matryoshka
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.spec.account`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name of an account quota must be a DNS label of at most 50 characters: lower-case letters, digits and '-', beginning and ending with a letter or digit"
type AccountQuota struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AccountQuotaSpec   `json:"spec"`
	Status AccountQuotaStatus `json:"status,omitempty"`
}

// AccountQuotaList is a list of account quotas.
//
// +kubebuilder:object:root=true
type AccountQuotaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccountQuota `json:"items"`
}

// AccountQuotaSpec says what is bounded.
type AccountQuotaSpec struct {
	// Account that is bounded. It cannot be changed.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.account cannot be changed; create a new account quota"
	Account string `json:"account"`
	// Quota is what all namespaces of the account may use together, as a ResourceQuota says it for one. A bound below what is used
	// evicts nothing; nothing is added until there is room.
	Quota QuotaSpec `json:"quota"`
}

// QuotaSpec is the spec of a ResourceQuota, with what would be found out only later refused at once.
//
// +kubebuilder:validation:XValidation:rule="(has(self.scopes) ? self.scopes : []) == (has(oldSelf.scopes) ? oldSelf.scopes : []) && has(self.scopeSelector) == has(oldSelf.scopeSelector) && (!has(self.scopeSelector) || self.scopeSelector == oldSelf.scopeSelector)",message="the scopes of a quota cannot be changed; create a new account quota"
type QuotaSpec struct {
	// Hard are the bounds, by resource.
	//
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=15
	// +kubebuilder:validation:XValidation:rule="self.all(name, name in ['pods', 'services', 'services.nodeports', 'services.loadbalancers', 'replicationcontrollers', 'secrets', 'configmaps', 'persistentvolumeclaims', 'cpu', 'memory', 'ephemeral-storage', 'requests.cpu', 'requests.memory', 'requests.storage', 'requests.ephemeral-storage', 'limits.cpu', 'limits.memory', 'limits.ephemeral-storage'] || name.matches('^(count/[a-z0-9]+([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*|(requests[.])?hugepages-[0-9]+[KMG]i|requests[.][a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?|[a-z0-9]([-a-z0-9.]*[a-z0-9])?[.]storageclass[.]storage[.]k8s[.]io/(requests[.]storage|persistentvolumeclaims)|[a-z0-9]([-a-z0-9.]*[a-z0-9])?[.]deviceclass[.]resource[.]k8s[.]io/devices)$'))",message="there is a resource that a quota cannot count; use names such as pods, requests.cpu, limits.memory, requests.storage, count/deployments.apps or requests.example.com/gpu"
	// +kubebuilder:validation:XValidation:rule="!('resourcequotas' in self) && !('count/resourcequotas' in self)",message="ResourceQuotas cannot be counted: they are what this quota is held by"
	// +kubebuilder:validation:XValidation:rule="self.all(name, !string(self[name]).startsWith('-'))",message="a bound must not be negative"
	// +kubebuilder:validation:XValidation:rule="self.all(name, name in ['cpu', 'requests.cpu', 'limits.cpu'] || quantity(string(self[name])).isInteger())",message="a bound must be a whole number below 2^63, but for cpu, which counts in thousandths"
	// +kubebuilder:validation:XValidation:rule="['cpu', 'memory', 'ephemeral-storage'].all(r, !('limits.' + r in self) || ((!('requests.' + r in self) || quantity(string(self['limits.' + r])).compareTo(quantity(string(self['requests.' + r]))) >= 0) && (!(r in self) || quantity(string(self['limits.' + r])).compareTo(quantity(string(self[r]))) >= 0)))",message="a bound of limits must not be below that of requests: a container's limit is never below its request"
	Hard map[corev1.ResourceName]resource.Quantity `json:"hard"`
	// Scopes that all must match an object for it to be counted. Empty counts every object. They cannot be changed.
	//
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Enum=Terminating;NotTerminating;BestEffort;NotBestEffort;PriorityClass;CrossNamespacePodAffinity;VolumeAttributesClass
	// +listType=atomic
	Scopes []corev1.ResourceQuotaScope `json:"scopes,omitempty"`
	// ScopeSelector is like Scopes, with values. It cannot be changed.
	ScopeSelector *corev1.ScopeSelector `json:"scopeSelector,omitempty"`
}

// Conditions and reasons of an AccountQuota.
const (
	// ConditionWithinQuota is false while more is used than the quota allows, which is so after a bound was lowered.
	ConditionWithinQuota = "WithinQuota"
	// ReasonEscrow is why a quota is ready: every namespace has its part, and the parts are no more than the whole.
	ReasonEscrow = "EscrowInPlace"
	// ReasonRefused is why a quota is not ready whose ResourceQuotas the host refuses.
	ReasonRefused = "Refused"
	// ReasonPending is why a quota is not ready while some namespace has no part that is enforced.
	ReasonPending = "Pending"
	// ReasonOver is why a quota is not kept: what was there when the bound was lowered stays.
	ReasonOver = "Over"
	// ReasonWithin is why a quota is kept.
	ReasonWithin = "Within"
)

// AccountQuotaStatus is what the agent has observed.
type AccountQuotaStatus struct {
	// ObservedGeneration is the generation of the spec that this status belongs to.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Epoch is greater for each replica of the agent that begins to look after this quota. One that finds another epoch than its own
	// stops.
	Epoch int64 `json:"epoch,omitempty"`

	// Hard is what the account may use, of the spec that was observed last; Used is what it uses.
	Hard corev1.ResourceList `json:"hard,omitempty"`
	Used corev1.ResourceList `json:"used,omitempty"`

	// Namespaces are the namespaces of the account with what each uses and what is set aside for it.
	//
	// +listType=map
	// +listMapKey=namespace
	Namespaces []NamespaceUsage `json:"namespaces,omitempty"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// NamespaceUsage is one namespace's part of an account's quota.
type NamespaceUsage struct {
	Namespace string `json:"namespace"`
	// Used is what it uses.
	Used corev1.ResourceList `json:"used,omitempty"`
	// Hard is what is set aside for it.
	Hard corev1.ResourceList `json:"hard,omitempty"`
}
