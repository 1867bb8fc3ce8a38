package customresource

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
)

// showGateway shows where a Gateway listens. Its certificates, and which namespaces of the host it serves, are the host's business;
// for a tenant it serves all.
func showGateway(hostObject map[string]any) (content, status map[string]any) {
	hostSpec, hostStatus := fieldsOf(hostObject, "spec"), fieldsOf(hostObject, "status")
	spec := picked(hostSpec, "gatewayClassName")
	listeners, _ := hostSpec["listeners"].([]any)
	shown := []any{}
	for _, listener := range listeners {
		listener, ok := listener.(map[string]any)
		if !ok {
			continue
		}
		some := picked(listener, "name", "hostname", "port", "protocol")
		some["allowedRoutes"] = map[string]any{"namespaces": map[string]any{"from": "All"}}
		if tls := fieldsOf(listener, "tls"); tls != nil {
			some["tls"] = shownTLS(tls)
		}
		shown = append(shown, some)
	}
	spec["listeners"] = shown
	status = picked(hostStatus, "addresses")
	status["conditions"] = silent(hostStatus["conditions"])
	return map[string]any{"spec": spec}, status
}

// shownTLS says something in the place of certificates, since the API wants them named.
func shownTLS(tls map[string]any) map[string]any {
	shown := picked(tls, "mode")
	if shown["mode"] != "Passthrough" {
		shown["options"] = map[string]any{"matryoshka.dev/certificates": "of-the-host"}
	}
	return shown
}

// sharedGateway is the Gateway of the host that a tenant sees under a key, as the host names it.
func sharedGateway(ctx context.Context, scope *engine.Scope, key engine.Key) (client.ObjectKey, bool, error) {
	typed, dynamic, ok := scope.Dynamic(gateways)
	if !ok {
		return client.ObjectKey{}, false, engine.Refuse(engine.ReasonWaiting, "the host's Gateways are not known yet")
	}
	virtualGateway, exists, err := engine.Get(ctx, typed.VirtualCache, key.NamespacedName(), dynamic.Empty())
	if err != nil || !exists || !mirror.IsMirror(virtualGateway) {
		return client.ObjectKey{}, false, err
	}
	// The mirror is the tenant's to forge; what counts is what the host offers.
	hostGateway, isOffered, err := offered(ctx, typed, dynamic, sharedGateways, key)
	if err != nil || !isOffered {
		return client.ObjectKey{}, false, err
	}
	return client.ObjectKeyFromObject(hostGateway), true, nil
}

// parentKey is what a parentRef of a route names, in the tenant. ok is false for what is no Gateway.
func parentKey(parent map[string]any, routeNamespace string) (key engine.Key, ok bool) {
	if !isOr(parent["group"], gatewayGroup) || !isOr(parent["kind"], "Gateway") {
		return engine.Key{}, false
	}
	key.Name, _ = parent["name"].(string)
	key.Namespace, _ = parent["namespace"].(string)
	if key.Namespace == "" {
		key.Namespace = routeNamespace
	}
	return key, true
}

// isOr tells whether a field has this value or none, which comes to the same.
func isOr(value any, fallback string) bool { return value == nil || value == fallback }

// routeStatus is what the host says of the Gateways that it shares, under the names that the tenant knows, and what controllers of
// the tenant's own say of others. Messages are written for whoever runs the host.
func routeStatus(t translating, hostStatus map[string]any) map[string]any {
	parents := []any{}
	virtualParents, _ := fieldsOf(t.pair.Virtual.Object, "status")["parents"].([]any)
	for _, said := range virtualParents {
		said, _ := said.(map[string]any)
		key, isGateway := parentKey(fieldsOf(said, "parentRef"), t.key().Namespace)
		if !isGateway || key.Namespace != metav1.NamespaceSystem {
			parents = append(parents, said)
		}
	}
	hostParents, _ := hostStatus["parents"].([]any)
	for _, said := range hostParents {
		said, ok := said.(map[string]any)
		if !ok {
			continue
		}
		parent := picked(fieldsOf(said, "parentRef"), "group", "kind", "name", "sectionName", "port")
		parent["namespace"] = metav1.NamespaceSystem
		some := picked(said, "controllerName")
		some["parentRef"], some["conditions"] = parent, silent(said["conditions"])
		parents = append(parents, some)
	}
	return map[string]any{"parents": parents}
}
