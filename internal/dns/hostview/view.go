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
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
)

// View answers questions about the objects of virtual clusters. It is safe for concurrent use.
type View struct {
	services, slices, pods cache.Indexer
	waiters                waiters
	informers              []cache.SharedIndexInformer
}

// New makes a view over a host cluster. It is empty until Run.
func New(client kubernetes.Interface) (*View, error) {
	core, discovery := client.CoreV1(), client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	services := follow(client, core.Services(metav1.NamespaceAll).List, core.Services(metav1.NamespaceAll).Watch, &corev1.Service{}, serviceIndexers)
	slices := follow(client, discovery.List, discovery.Watch, &discoveryv1.EndpointSlice{}, sliceIndexers)
	pods := follow(client, core.Pods(metav1.NamespaceAll).List, core.Pods(metav1.NamespaceAll).Watch, &corev1.Pod{}, podIndexers)
	for informer, trim := range map[cache.SharedIndexInformer]cache.TransformFunc{services: trimService, slices: trimSlice, pods: trimPod} {
		if err := informer.SetTransform(trim); err != nil {
			return nil, fmt.Errorf("trim host objects: %w", err)
		}
	}
	v := &View{
		services: services.GetIndexer(), slices: slices.GetIndexer(), pods: pods.GetIndexer(),
		informers: []cache.SharedIndexInformer{services, slices, pods},
	}
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    v.podSeen,
		UpdateFunc: func(_, pod any) { v.podSeen(pod) },
	}); err != nil {
		return nil, fmt.Errorf("watch host pods: %w", err)
	}
	return v, nil
}

// follow makes the informer of the objects of virtual clusters that a client lists and watches.
func follow[L runtime.Object](
	client kubernetes.Interface,
	list func(context.Context, metav1.ListOptions) (L, error), watched func(context.Context, metav1.ListOptions) (watch.Interface, error),
	empty runtime.Object, indexers cache.Indexers,
) cache.SharedIndexInformer {
	return rewatch.NewInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = mapping.LabelID
			return list(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = mapping.LabelID
			return watched(ctx, options)
		},
	}, client), empty, 0, indexers)
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
	var running sync.WaitGroup
	for _, informer := range v.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
}

// Synced tells whether the view has seen everything that the host has. It stays true once it is.
func (v *View) Synced() bool {
	for _, informer := range v.informers {
		if !informer.HasSynced() {
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
