package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// KubernetesVersion is the one Kubernetes version that this build can run as a virtual cluster.
const KubernetesVersion = "v1.36.3"

// VirtualCluster is a complete Kubernetes control plane that runs as pods of the host cluster and uses its nodes.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=vc,categories=matryoshka
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Asleep",type=string,JSONPath=`.status.conditions[?(@.type=="Asleep")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.kubernetesVersion`
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.status.id`,priority=1
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.status.endpoint`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50",message="the name of a virtual cluster must have at most 50 characters"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name of a virtual cluster must be a DNS label: lower-case letters, digits and '-', beginning and ending with a letter or digit"
type VirtualCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +kubebuilder:default={}
	Spec   VirtualClusterSpec   `json:"spec,omitempty"`
	Status VirtualClusterStatus `json:"status,omitempty"`
}

// VirtualClusterList is a list of virtual clusters.
//
// +kubebuilder:object:root=true
type VirtualClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualCluster `json:"items"`
}

// VirtualClusterSpec is what the owner of a virtual cluster asks for. Every field has a default.
//
// +kubebuilder:validation:XValidation:rule="!has(self.store) || !has(oldSelf.store) || self.store.type == oldSelf.store.type",message="spec.store.type cannot be changed: the data of one store is not moved into another; create a new virtual cluster"
// +kubebuilder:validation:XValidation:rule="!has(self.replicas) || self.replicas == 1 || !has(self.store) || !(self.store.type in ['sqlite', 'memory'])",message="spec.replicas above 1 needs a store that several replicas can share; sqlite and memory belong to one replica"
// +kubebuilder:validation:XValidation:rule="(has(self.scheduling) ? self.scheduling : 'host') == (has(oldSelf.scheduling) ? oldSelf.scheduling : 'host')",message="spec.scheduling cannot be changed: pods that run were placed by the other scheduler; create a new virtual cluster"
// +kubebuilder:validation:XValidation:rule="!has(self.scheduling) || self.scheduling != 'tenant' || !has(self.nodes) || !has(self.nodes.mode) || self.nodes.mode == 'all'",message="spec.scheduling tenant needs spec.nodes.mode all: a scheduler of the tenant's own chooses among the nodes that it sees"
type VirtualClusterSpec struct {
	// Replicas of the control plane. The stores sqlite and memory allow exactly one.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	Replicas int32 `json:"replicas,omitempty"`

	// KubernetesVersion of the control plane. Only the version that is built into this release is accepted.
	//
	// +kubebuilder:default="v1.36.3"
	// +kubebuilder:validation:XValidation:rule="self == 'v1.36.3'",message="this release runs virtual clusters of Kubernetes v1.36.3 only; leave spec.kubernetesVersion out or set it to v1.36.3"
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`

	// Store says where the virtual cluster keeps its objects.
	//
	// +kubebuilder:default={}
	Store Store `json:"store,omitempty"`

	// Resources of the control plane's container. Nil takes small requests and no limits.
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// Nodes says which nodes of the host cluster the tenant sees and uses.
	//
	// +kubebuilder:default={}
	Nodes Nodes `json:"nodes,omitempty"`

	// Scheduling says who chooses the node of a pod: the scheduler of the host cluster, or one of the tenant's own, which needs
	// nodes.mode all. It cannot be changed.
	//
	// +kubebuilder:default=host
	Scheduling Scheduling `json:"scheduling,omitempty"`

	// PodSecurity is the Pod Security Standard that the host enforces on every pod of the tenant.
	//
	// +kubebuilder:default=baseline
	PodSecurity PodSecurityLevel `json:"podSecurity,omitempty"`

	// Network says what the tenant's pods may reach.
	//
	// +kubebuilder:default={}
	Network Network `json:"network,omitempty"`

	// Sync says what is kept in step beside the built-in kinds.
	//
	// +optional
	Sync Sync `json:"sync,omitzero"`

	// Sleep is when the virtual cluster sleeps: its pods and its control plane are stopped, its objects and volumes stay, and a
	// connection to it wakes it. Nil means that it sleeps only with its space. One with the store memory cannot sleep.
	Sleep *tenancyv1alpha1.Sleep `json:"sleep,omitempty"`

	// RenewCredentials, when it is set or changed, has all credentials made anew, once: kubeconfigs, certificates that the virtual
	// cluster has signed and tokens of its ServiceAccounts that were made before are refused from then on. The API server is
	// restarted for it. It is done at once, whatever the time; `matry renew` takes the present one.
	//
	// +optional
	RenewCredentials *metav1.Time `json:"renewCredentials,omitempty"`

	// Paused stops the agent from changing anything of this virtual cluster but its certificates, which are still renewed;
	// what runs keeps running.
	Paused bool `json:"paused,omitempty"`
}

// StoreType names a kind of datastore.
//
// +kubebuilder:validation:Enum=sqlite;memory
type StoreType string

// The datastores of this release.
const (
	// StoreSQLite keeps the objects in one SQLite file on a persistent volume.
	StoreSQLite StoreType = "sqlite"
	// StoreMemory keeps the objects in memory: they are gone when the control plane restarts.
	StoreMemory StoreType = "memory"
)

// Store describes the datastore of a virtual cluster.
//
// +kubebuilder:validation:XValidation:rule="!has(self.size) || !has(oldSelf.size) || self.size == oldSelf.size",message="spec.store.size cannot be changed: the volume is made once; create a new virtual cluster"
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="spec.store.storageClassName cannot be changed: the volume is made once; create a new virtual cluster"
type Store struct {
	// +kubebuilder:default=sqlite
	Type StoreType `json:"type,omitempty"`

	// Size of the persistent volume, for sqlite. It cannot be changed. Zero takes the default: it must not reach the
	// wire, where it would be a size of its own.
	//
	// +kubebuilder:default="1Gi"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="spec.store.size must be more than nothing, for example 1Gi"
	// +optional
	Size resource.Quantity `json:"size,omitzero"`

	// StorageClassName of the persistent volume, for sqlite. Nil takes the default class of the host cluster. It cannot
	// be changed.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="spec.store.storageClassName must be the name of a StorageClass; leave it out for the default class of the host cluster"
	StorageClassName *string `json:"storageClassName,omitempty"`
}

// NodesMode says which nodes are mirrored into the tenant.
//
// +kubebuilder:validation:Enum=all;used
type NodesMode string

// The ways of mirroring nodes.
const (
	// NodesAll mirrors every node that the selector matches.
	NodesAll NodesMode = "all"
	// NodesUsed mirrors a node as long as a pod of the tenant is on it. DaemonSets then see only those nodes.
	NodesUsed NodesMode = "used"
)

// Nodes says which nodes of the host cluster the tenant sees and uses.
type Nodes struct {
	// +kubebuilder:default=all
	Mode NodesMode `json:"mode,omitempty"`

	// Selector limits the tenant to nodes with these labels. Empty means every node.
	//
	// +kubebuilder:validation:MaxProperties=16
	Selector map[string]string `json:"selector,omitempty"`
}

// Scheduling says who chooses the node of a pod.
//
// +kubebuilder:validation:Enum=host;tenant
type Scheduling string

// The ways of scheduling.
const (
	// SchedulingHost leaves the choice to the host.
	SchedulingHost Scheduling = "host"
	// SchedulingTenant runs a kube-scheduler in the control plane. What the tenant puts on its Nodes counts for it; the host still
	// confirms each choice.
	SchedulingTenant Scheduling = "tenant"
)

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

// Network says what the tenant's pods may reach.
type Network struct {
	// Isolation keeps other tenants, the host's API server, its nodes and the metadata address out of reach. Nil means true.
	//
	// +kubebuilder:default=true
	Isolation *bool `json:"isolation,omitempty"`
}

// Sync says what is kept in step beside the built-in kinds.
type Sync struct {
	// CustomResources are kinds of the host that the tenant has, too. Naming one here is not enough: whoever runs the host must
	// have granted the agent the right to it; the condition CustomResourcesSynced tells what is missing.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	CustomResources []CustomResource `json:"customResources,omitempty"`

	// HostObjects are single ConfigMaps and Secrets of the host that the tenant has, too. They may be in the namespace of the
	// VirtualCluster, or whoever runs the host must have shared them; the condition HostObjectsSynced tells what is missing.
	// Of two with one name in the virtual cluster the first counts.
	//
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	HostObjects []HostObject `json:"hostObjects,omitempty"`
}

// HostObjectKind is a kind of object that can be shown to a tenant one by one.
//
// +kubebuilder:validation:Enum=ConfigMap;Secret
type HostObjectKind string

// The kinds.
const (
	HostConfigMap HostObjectKind = "ConfigMap"
	HostSecret    HostObjectKind = "Secret"
)

// HostObject is a ConfigMap or Secret of the host that the tenant has, too, as a mirror.
type HostObject struct {
	Kind HostObjectKind `json:"kind"`

	// Namespace on the host. Empty is the namespace of the VirtualCluster.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	Namespace string `json:"namespace,omitempty"`

	// Name on the host.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// ToNamespace is where the mirror is in the virtual cluster; the namespace must exist there.
	//
	// +kubebuilder:default=default
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	ToNamespace string `json:"toNamespace,omitempty"`

	// ToName is the mirror's name. Empty is the name on the host.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$`
	ToName string `json:"toName,omitempty"`
}

// SyncDirection says on which side objects are made.
//
// +kubebuilder:validation:Enum=toHost;fromHost
type SyncDirection string

// The directions.
const (
	// SyncToHost copies the tenant's objects to the host and brings their status back.
	SyncToHost SyncDirection = "toHost"
	// SyncFromHost shows the tenant what the host makes in the namespaces that stand for the tenant's.
	SyncFromHost SyncDirection = "fromHost"
)

// CustomResource is a kind of the host that the tenant has, too.
type CustomResource struct {
	// Name of the host's CustomResourceDefinition, <plural>.<group>, such as certificates.cert-manager.io. The kind must be
	// namespaced.
	//
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$')",message="must be the name of a CustomResourceDefinition, <plural>.<group>, such as certificates.cert-manager.io"
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('.matryoshka.dev')",message="kinds of matryoshka.dev belong to the host and are not copied"
	Name string `json:"name"`

	// Direction in which objects are copied. A status always goes from the host to the tenant.
	//
	// +kubebuilder:default=toHost
	Direction SyncDirection `json:"direction,omitempty"`

	// References are the paths of fields that hold the name of a namespace, such as .spec.issuerRef.namespace or
	// .spec.parents[*].namespace. On the host they name the namespace that stands for the tenant's. An object that has a field
	// that looks like one and is not declared, here or by the host, is refused.
	//
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^([.][A-Za-z0-9_-]+(\[\*\])?)+$`
	// +listType=set
	References []string `json:"references,omitempty"`
}

// Condition types of a VirtualCluster.
const (
	// ConditionCustomResourcesSynced is true when every kind of spec.sync.customResources is kept in step. It is missing
	// where there are none.
	ConditionCustomResourcesSynced = "CustomResourcesSynced"
	// ConditionHostObjectsSynced is true when every object of spec.sync.hostObjects is in the virtual cluster. It is missing
	// where there are none.
	ConditionHostObjectsSynced = "HostObjectsSynced"
	// ConditionNetworkIsolation tells whether the host enforces the NetworkPolicies that fence virtual clusters off. It is about the
	// host, the same for all of its virtual clusters, and says nothing about readiness.
	ConditionNetworkIsolation = "NetworkIsolation"
	// ConditionReady is true when the tenant's API server answers, its default ServiceAccount exists and the
	// kubeconfig Secret is written.
	ConditionReady = "Ready"
	// ConditionControlPlaneReady is true when the tenant's API server answers on /readyz.
	ConditionControlPlaneReady = "ControlPlaneReady"
	// ReasonAccountLimitReached is why a virtual cluster is not ready, or does not wake, for which its account leaves no room.
	ReasonAccountLimitReached = "AccountLimitReached"
	// ConditionSynced is true when the sync engine serves this virtual cluster.
	ConditionSynced = "Synced"
)

// VirtualClusterStatus is what the agent has observed.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.id) || (has(self.id) && self.id == oldSelf.id)",message="status.id never changes: the virtual cluster's objects on the host are found by it"
type VirtualClusterStatus struct {
	// ObservedGeneration is the generation of the spec that this status belongs to.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// ID is the fixed-width name of the virtual cluster on its host; host namespaces begin with it. It never changes.
	ID string `json:"id,omitempty"`

	// KubernetesVersion that runs.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`

	// Endpoint is the URL at which the tenant's API server is reached from outside: the front door.
	Endpoint string `json:"endpoint,omitempty"`

	// ServerName is the TLS server name that a client must send to the front door.
	ServerName string `json:"serverName,omitempty"`

	// KubeconfigSecret names the Secret, in the namespace of the VirtualCluster, whose key "config" is an
	// administrator's kubeconfig of the virtual cluster.
	KubeconfigSecret string `json:"kubeconfigSecret,omitempty"`

	// CredentialsRenewed is the spec.renewCredentials that has been done: the API server takes the new credentials and no others.
	//
	// +optional
	CredentialsRenewed *metav1.Time `json:"credentialsRenewed,omitempty"`

	// +optional
	Sleep tenancyv1alpha1.SleepStatus `json:"sleep,omitzero"`

	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
