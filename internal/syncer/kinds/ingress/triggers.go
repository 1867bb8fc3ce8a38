package ingress

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

const (
	// indexService and indexClass find the tenant's Ingresses by what they name.
	indexService = Name + ".service"
	indexClass   = Name + ".class"
)

func triggers() []engine.Trigger {
	return []engine.Trigger{
		{Side: engine.Virtual, Object: empty()},
		// Those of everybody: the names that others take or give up decide what the tenant may have.
		{Side: engine.Host, Object: empty(), Unfiltered: true, Everybody: true, Keys: concerned},
		{Side: engine.Virtual, Object: &corev1.Service{}, Keys: withService, Ignore: sameService},
		{Side: engine.Host, Object: &corev1.Service{}, Keys: withHostService, Ignore: sameService},
		{Side: engine.Virtual, Object: &networkingv1.IngressClass{}, Keys: withClass},
		{Side: engine.Host, Object: &networkingv1.IngressClass{}, Unfiltered: true, Keys: withClass},
	}
}

func indexes() []engine.Index {
	return []engine.Index{
		{Side: engine.Virtual, Object: empty(), Field: indexHost, Values: indexedHosts},
		{Side: engine.Host, Object: empty(), Field: indexHost, Values: indexedHosts},
		{Side: engine.Virtual, Object: empty(), Field: indexService, Values: func(object client.Object) []string {
			ingress, ok := object.(*networkingv1.Ingress)
			if !ok {
				return nil
			}
			return servicesOf(ingress)
		}},
		{Side: engine.Virtual, Object: empty(), Field: indexClass, Values: func(object client.Object) []string {
			ingress, ok := object.(*networkingv1.Ingress)
			if !ok || classOf(ingress) == "" {
				return nil
			}
			return []string{classOf(ingress)}
		}},
	}
}

// concerned are the tenant's Ingress of which a host Ingress is the copy, and those that want a name of it.
func concerned(scope *engine.Scope, object client.Object) []engine.Key {
	hostIngress, ok := object.(*networkingv1.Ingress)
	if !ok {
		return nil
	}
	var keys []engine.Key
	if key, isOwn := scope.TenantKey(hostIngress); isOwn {
		keys = append(keys, key)
	}
	for _, host := range hostsOf(hostIngress) {
		// A failure means that the cache is not there yet; then every Ingress is looked at anyway when it comes.
		rivals, err := withHost(context.Background(), scope.VirtualCache, host)
		if err != nil {
			return keys
		}
		for index := range rivals {
			keys = append(keys, engine.KeyOf(&rivals[index]))
		}
	}
	return keys
}

func withService(scope *engine.Scope, service client.Object) []engine.Key {
	return list(scope, client.InNamespace(service.GetNamespace()), client.MatchingFields{indexService: service.GetName()})
}

func withHostService(scope *engine.Scope, hostService client.Object) []engine.Key {
	key, ok := scope.TenantKey(hostService)
	if !ok {
		return nil
	}
	return list(scope, client.InNamespace(key.Namespace), client.MatchingFields{indexService: key.Name})
}

func withClass(scope *engine.Scope, class client.Object) []engine.Key {
	return list(scope, client.MatchingFields{indexClass: class.GetName()})
}

func list(scope *engine.Scope, options ...client.ListOption) []engine.Key {
	ingresses := &networkingv1.IngressList{}
	// A failure means that the cache is not there yet; then every Ingress is looked at anyway when it comes.
	if err := scope.VirtualCache.List(context.Background(), ingresses, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil
	}
	keys := make([]engine.Key, 0, len(ingresses.Items))
	for index := range ingresses.Items {
		keys = append(keys, engine.KeyOf(&ingresses.Items[index]))
	}
	return keys
}

// sameService drops updates of Services that mean nothing to a backend.
func sameService(old, new client.Object) bool {
	oldService, isService := old.(*corev1.Service)
	newService, isServiceToo := new.(*corev1.Service)
	return isService && isServiceToo && oldService.Spec.Type == newService.Spec.Type &&
		oldService.Annotations[mapping.AnnotationTenantUID] == newService.Annotations[mapping.AnnotationTenantUID]
}
