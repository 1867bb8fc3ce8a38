// Package hostview is what the DNS knows of the host cluster: the Services, EndpointSlices and pods of all virtual
// clusters, in shared caches with the indexes that names need.
//
// It knows nothing of DNS messages. Invariants: only objects that carry a virtual cluster's ID are held, trimmed to
// the fields that are used; every lookup names the virtual cluster and finds only objects with its ID and the asked
// tenant namespace; an address belongs to one virtual cluster or to none. The caches keep what they know while the
// host's API server is away.
package hostview

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// View answers questions about the objects of virtual clusters. It is safe for concurrent use.
type View struct {
	services, slices, pods cache.Indexer
	waiters                waiters
	synced                 []cache.InformerSynced
	factory                informers.SharedInformerFactory
}

// New makes a view over a host cluster. It is empty until Run.
func New(client kubernetes.Interface) (*View, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = mapping.LabelID }),
	)
	v := &View{factory: factory}
	services := factory.Core().V1().Services().Informer()
	slices := factory.Discovery().V1().EndpointSlices().Informer()
	pods := factory.Core().V1().Pods().Informer()
	for informer, setup := range map[cache.SharedIndexInformer]struct {
		trim     cache.TransformFunc
		indexers cache.Indexers
	}{
		services: {trimService, serviceIndexers},
		slices:   {trimSlice, sliceIndexers},
		pods:     {trimPod, podIndexers},
	} {
		if err := informer.SetTransform(setup.trim); err != nil {
			return nil, fmt.Errorf("trim host objects: %w", err)
		}
		if err := informer.AddIndexers(setup.indexers); err != nil {
			return nil, fmt.Errorf("index host objects: %w", err)
		}
		v.synced = append(v.synced, informer.HasSynced)
	}
	v.services, v.slices, v.pods = services.GetIndexer(), slices.GetIndexer(), pods.GetIndexer()
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    v.podSeen,
		UpdateFunc: func(_, pod any) { v.podSeen(pod) },
	}); err != nil {
		return nil, fmt.Errorf("watch host pods: %w", err)
	}
	return v, nil
}

// NewFixed makes a view of objects that do not change, for tests of what is built on it.
func NewFixed(services []*corev1.Service, slices []*discoveryv1.EndpointSlice, pods []*corev1.Pod) (*View, error) {
	v := &View{
		services: cache.NewIndexer(cache.MetaNamespaceKeyFunc, serviceIndexers),
		slices:   cache.NewIndexer(cache.MetaNamespaceKeyFunc, sliceIndexers),
		pods:     cache.NewIndexer(cache.MetaNamespaceKeyFunc, podIndexers),
	}
	for _, service := range services {
		if err := add(v.services, trimService, service); err != nil {
			return nil, err
		}
	}
	for _, slice := range slices {
		if err := add(v.slices, trimSlice, slice); err != nil {
			return nil, err
		}
	}
	for _, pod := range pods {
		if err := add(v.pods, trimPod, pod); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func add(indexer cache.Indexer, trim cache.TransformFunc, object any) error {
	trimmed, err := trim(object)
	if err != nil {
		return err
	}
	return indexer.Add(trimmed)
}

// Run fills the view and keeps it up to date until the context ends.
func (v *View) Run(ctx context.Context) {
	v.factory.StartWithContext(ctx)
	<-ctx.Done()
	v.factory.Shutdown()
}

// Synced tells whether the view has seen everything that the host has. It stays true once it is.
func (v *View) Synced() bool {
	for _, synced := range v.synced {
		if !synced() {
			return false
		}
	}
	return true
}

// Tenant is the ID of the virtual cluster that the pod with this address belongs to. The caches may be behind, and a
// pod talks before the kubelet has reported its address: an unknown address is waited for until the context ends.
func (v *View) Tenant(ctx context.Context, address netip.Addr) (id string, ok bool) {
	if id, ok := v.tenantNow(address); ok {
		return id, true
	}
	seen, leave, ok := v.waiters.join(address)
	if !ok {
		return "", false
	}
	defer leave()
	for {
		// Looked at after joining, or a pod seen in between would be missed.
		if id, ok := v.tenantNow(address); ok {
			return id, true
		}
		select {
		case <-seen:
		case <-ctx.Done():
			return "", false
		}
	}
}

func (v *View) tenantNow(address netip.Addr) (string, bool) {
	id := ""
	for _, pod := range v.podsByAddress(address) {
		owner := pod.Labels[mapping.LabelID]
		if id != "" && id != owner {
			// For a moment an address can stand in the status of a pod that is gone and of its successor.
			return "", false
		}
		id = owner
	}
	return id, id != ""
}

func (v *View) podSeen(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	for _, address := range podAddresses(pod) {
		v.waiters.wake(address)
	}
}

// IsKnown tells whether an address belongs to a Service or a pod of any virtual cluster.
func (v *View) IsKnown(address netip.Addr) bool {
	if len(v.podsByAddress(address)) > 0 {
		return true
	}
	services, err := v.services.ByIndex(byAddress, address.String())
	return err == nil && len(services) > 0
}
