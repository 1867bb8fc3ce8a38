// Package config is the configuration file of matryd controlplane: its types, defaults and validation.
//
// It is apart from the control plane itself so that the agent, which writes the file, does not import Kubernetes
// server code. Its invariants: an unknown key is an error; Validate reports every error at once, each with its path;
// no secret stands in the file, only the paths of mounted files.
package config

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The group, version and kind of the file.
const (
	APIVersion = "controlplane.matryoshka.dev/v1alpha1"
	Kind       = "ControlPlane"
)

// Names of the files in ControlPlane.PKIDirectory. The keys of the tenant's serving, kubelet and front proxy CAs and
// of the door CA never leave the agent.
const (
	ServingCert    = "serving.crt" // of the API server; names: kubernetes, kubernetes.default, ...svc, ...svc.<domain>, the front door's server name, the service address, localhost
	ServingKey     = "serving.key"
	ServingCA      = "serving-ca.crt" // what clients in the tenant trust: kube-root-ca.crt
	ClientCA       = "client-ca.crt"  // whom the API server believes; the tenant's own CA
	ClientCAKey    = "client-ca.key"  // the CSR signing controller of the tenant needs it
	FrontProxyCA   = "front-proxy-ca.crt"
	FrontProxyCert = "front-proxy-client.crt"
	FrontProxyKey  = "front-proxy-client.key"
	ServiceAccount = "service-account.key" // ECDSA P-256: signs and verifies ServiceAccount tokens
	KubeletCA      = "kubelet-ca.crt"      // vouches for the inner TLS of the kubelet door, per tenant
	DoorCA         = "door-ca.crt"         // vouches for the outer TLS of the doors
	DoorCert       = "door-client.crt"     // this control plane's identity at the doors
	DoorKey        = "door-client.key"
)

// StoreType names a datastore.
type StoreType string

// The datastores. etcd and external will join them.
const (
	StoreSQLite StoreType = "sqlite"
	StoreMemory StoreType = "memory"
)

// ControlPlane is the configuration of one control plane.
type ControlPlane struct {
	metav1.TypeMeta `json:",inline"`

	// Name of the virtual cluster, as <namespace>/<name>, for logs and metrics. Required.
	Name string `json:"name"`
	// UID of the VirtualCluster object. Required.
	UID string `json:"uid"`

	// BindAddress of the API server. Empty means "0.0.0.0".
	BindAddress string `json:"bindAddress,omitempty"`
	// Port of the API server. 0 means 6443.
	Port int `json:"port,omitempty"`

	// PKIDirectory holds the files named above. Empty means "/etc/matryoshka/pki".
	PKIDirectory string `json:"pkiDirectory,omitempty"`

	// Store of the objects. Type is required.
	Store Store `json:"store"`

	// ServiceAddress is the ClusterIP of the control plane's host Service: the address of default/kubernetes in the
	// tenant. Required.
	ServiceAddress string `json:"serviceAddress"`
	// ServiceRanges are the tenant's service ranges, one per family at most. Empty means 0.0.0.0/0: the host decides.
	ServiceRanges []string `json:"serviceRanges,omitempty"`
	// ClusterDomain of the tenant. Empty means "cluster.local".
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// Scheduler runs the tenant's own kube-scheduler.
	Scheduler bool `json:"scheduler,omitempty"`

	// Doors of the agent. Nil means none: addresses come from the tenant's own allocator and there is no kubelet
	// traffic. Only tests run a control plane without doors.
	Doors *Doors `json:"doors,omitempty"`
}

// Store describes a datastore.
type Store struct {
	Type StoreType `json:"type"`
	// Path of the SQLite file. Empty means "/var/lib/matryoshka/state.db". Only for sqlite.
	Path string `json:"path,omitempty"`
}

// Doors are the two endpoints of the agent that a control plane may call.
type Doors struct {
	// KubeletAddress is the host:port of the kubelet door.
	KubeletAddress string `json:"kubeletAddress"`
	// ServiceAddress is the host:port of the address door.
	ServiceAddress string `json:"serviceAddress"`
	// ServerName that the doors' certificates carry.
	ServerName string `json:"serverName"`
}
