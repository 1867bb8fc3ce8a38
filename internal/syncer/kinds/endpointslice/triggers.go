package endpointslice

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

const (
	// indexAddress finds tenant slices by an address in them.
	indexAddress = Name + ".address"
	// indexPodAddress finds host pods by an address for which they vouch.
	indexPodAddress = Name + ".podAddress"
)

// triggers: besides the slices themselves, their Services (a selector may come or go) and whatever decides whether an
// address may be named. A pod that ends takes its address's permission with it.
func triggers(ranges *hostranges.Source) []engine.Trigger {
	rangesChanged := func(scope *engine.Scope, _ client.Object) []engine.Key {
		ranges.Expire()
		return list(scope)
	}
	return []engine.Trigger{
		{Side: engine.Virtual, Object: &discoveryv1.EndpointSlice{}},
		{Side: engine.Host, Object: &discoveryv1.EndpointSlice{}, Keys: copyKey},
		{Side: engine.Virtual, Object: &corev1.Service{}, Keys: func(scope *engine.Scope, object client.Object) []engine.Key {
			return slicesOf(scope, engine.KeyOf(object))
		}},
		{Side: engine.Host, Object: &corev1.Service{}, Keys: func(scope *engine.Scope, object client.Object) []engine.Key {
			key, ok := scope.TenantKey(object)
			if !ok {
				return nil
			}
			return slicesOf(scope, key)
		}},
		{Side: engine.Host, Object: &corev1.Pod{}, Keys: slicesNaming, Ignore: sameAddresses},
		{Side: engine.Host, Object: &corev1.Node{}, Unfiltered: true, Keys: rangesChanged, Ignore: hostranges.SameNode},
	}
}

// copyKey keeps the slices of the host's own controller from waking anything: they change with every pod.
func copyKey(scope *engine.Scope, object client.Object) []engine.Key {
	hostSlice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok || !isCopy(hostSlice) {
		return nil
	}
	key, ok := scope.TenantKey(hostSlice)
	if !ok {
		return nil
	}
	return []engine.Key{key}
}

func slicesOf(scope *engine.Scope, service engine.Key) []engine.Key {
	return list(scope, client.InNamespace(service.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service.Name})
}

func slicesNaming(scope *engine.Scope, object client.Object) []engine.Key {
	hostPod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	var keys []engine.Key
	for _, podIP := range hostPod.Status.PodIPs {
		if address, err := netip.ParseAddr(podIP.IP); err == nil {
			keys = append(keys, list(scope, client.MatchingFields{indexAddress: address.String()})...)
		}
	}
	return keys
}

func list(scope *engine.Scope, options ...client.ListOption) []engine.Key {
	virtualSlices := &discoveryv1.EndpointSliceList{}
	// A failure means that the cache is not there yet; then every slice is looked at anyway when it comes.
	if err := scope.VirtualCache.List(context.Background(), virtualSlices, options...); err != nil {
		return nil
	}
	var keys []engine.Key
	for i := range virtualSlices.Items {
		if virtualSlices.Items[i].Labels[discoveryv1.LabelManagedBy] != controllerName {
			keys = append(keys, engine.KeyOf(&virtualSlices.Items[i]))
		}
	}
	return keys
}

// sliceAddresses are the addresses that a tenant slice names, in canonical form.
func sliceAddresses(object client.Object) []string {
	virtualSlice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok || virtualSlice.Labels[discoveryv1.LabelManagedBy] == controllerName {
		return nil
	}
	var addresses []string
	for _, endpoint := range virtualSlice.Endpoints {
		for _, text := range endpoint.Addresses {
			if address, err := netip.ParseAddr(text); err == nil {
				addresses = append(addresses, address.String())
			}
		}
	}
	return addresses
}

func sameAddresses(old, new client.Object) bool {
	oldPod, isPod := old.(*corev1.Pod)
	newPod, isPodToo := new.(*corev1.Pod)
	return isPod && isPodToo && equality.Semantic.DeepEqual(podAddresses(oldPod), podAddresses(newPod))
}
