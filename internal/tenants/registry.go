// Package tenants is the agent's view of the virtual clusters that it serves: who they are and how to reach their
// API servers.
//
// The lifecycle controller writes it; the sync engine, the doors, the front door read it. It holds no Kubernetes
// objects of tenants and does no I/O. Invariant: a Tenant in it is never changed, only replaced.
package tenants

import (
	"crypto/tls"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// Tenant is one virtual cluster as the agent's parts see it.
type Tenant struct {
	// ID is VirtualCluster.status.id.
	ID string
	// UID, Namespace and Name of the VirtualCluster object.
	UID       types.UID
	Namespace string
	Name      string

	Spec clusterv1alpha1.VirtualClusterSpec

	// Account is what the account says that the virtual cluster belongs to. Nil for one that belongs to none.
	Account *rules.Rules

	// ServiceAddress is the ClusterIP of the control plane's host Service (port 443).
	ServiceAddress string

	// VirtualConfig reaches the tenant's API server as system:masters, through Guard. It has no timeout: who calls sets one. With
	// another address or other credentials it is another one.
	VirtualConfig *rest.Config

	// RootCA is the PEM bundle that the tenant's workloads trust for the tenant's API server.
	RootCA []byte

	// TokenKeyID names the key that the tenant's API server signs tokens by. A token of another one is refused there. Empty means
	// that it is not known.
	TokenKeyID string

	// KubeletCertificate makes a serving certificate of this tenant's kubelet CA for a node's IP address; the kubelet
	// door shows it inside the tunnel. Safe for concurrent use; results are cached.
	KubeletCertificate func(nodeIP string) (*tls.Certificate, error)

	// Ready tells that the tenant's API server answers. The sync engine serves only ready tenants.
	Ready bool
	// Asleep tells that the virtual cluster sleeps or is about to: it is not served, and what it lacks on the host is not lost.
	Asleep bool
	// Waking tells that it has slept and its API server does not answer yet.
	Waking bool
	// SleepEpoch counts how often it has fallen asleep. It rises before anything is stopped.
	SleepEpoch int64
	// Terminating tells that the VirtualCluster is being deleted: nothing new may be made for it.
	Terminating bool
}

// Registry is the set of tenants, safe for concurrent use.
type Registry struct {
	mu sync.RWMutex
	// The following are protected by mu.
	byUID    map[types.UID]Tenant
	byID     map[string]types.UID
	watchers []chan struct{}
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{byUID: map[types.UID]Tenant{}, byID: map[string]types.UID{}}
}

// Set adds a tenant, or replaces the one of the same UID.
func (r *Registry) Set(tenant Tenant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byUID[tenant.UID] = tenant
	r.byID[tenant.ID] = tenant.UID
	r.notify()
}

// Advance is Set unless the tenant is described as of an earlier time than the registry knows, as far as its sleep tells: a cache
// that is behind must not bring one to life that is being put to sleep. It tells whether it was set.
func (r *Registry) Advance(tenant Tenant) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.byUID[tenant.UID]
	if ok && (tenant.SleepEpoch < known.SleepEpoch || tenant.SleepEpoch == known.SleepEpoch && tenant.Asleep && !known.Asleep) {
		return false
	}
	r.byUID[tenant.UID] = tenant
	r.byID[tenant.ID] = tenant.UID
	r.notify()
	return true
}

// Delete removes a tenant. Unknown UIDs are ignored.
func (r *Registry) Delete(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tenant, ok := r.byUID[uid]
	if !ok {
		return
	}
	delete(r.byUID, uid)
	delete(r.byID, tenant.ID)
	r.notify()
}

// ByUID finds a tenant by the UID of its VirtualCluster.
func (r *Registry) ByUID(uid types.UID) (Tenant, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tenant, ok := r.byUID[uid]
	return tenant, ok
}

// ByID finds a tenant by its ID.
func (r *Registry) ByID(id string) (Tenant, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	tenant, ok := r.byUID[r.byID[id]]
	return tenant, ok
}

// List returns all tenants in no particular order.
func (r *Registry) List() []Tenant {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Tenant, 0, len(r.byUID))
	for _, tenant := range r.byUID {
		list = append(list, tenant)
	}
	return list
}

// Changes returns a channel that receives a value some time after every change; several changes may come as one.
// The receiver lists the registry to learn what it holds now. It is for parts that live as long as the registry.
func (r *Registry) Changes() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	r.watchers = append(r.watchers, changed)
	return changed
}

// notify must be called with mu held.
func (r *Registry) notify() {
	for _, watcher := range r.watchers {
		select {
		case watcher <- struct{}{}:
		default: // a notice is already waiting
		}
	}
}
