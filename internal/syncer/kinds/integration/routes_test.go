package integration

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingress"
)

const (
	gatewaysName = "gateways." + gatewayGroup
	httpRoutes   = "httproutes." + gatewayGroup
)

func gateway(namespace, name string, labels map[string]string) *unstructured.Unstructured {
	object := ofKind(gatewayGroup+"/v1", "Gateway")
	object.SetNamespace(namespace)
	object.SetName(name)
	object.SetLabels(labels)
	object.Object["spec"] = map[string]any{"gatewayClassName": "public", "listeners": []any{
		map[string]any{"name": "http", "port": int64(80), "protocol": "HTTP"},
		map[string]any{"name": "https", "port": int64(443), "protocol": "HTTPS", "tls": map[string]any{"certificateRefs": []any{map[string]any{"name": "wildcard"}}}},
	}}
	return object
}

func parentOf(namespace, name string) map[string]any {
	return map[string]any{"namespace": namespace, "name": name}
}

func httpRoute(namespace, name, host, service string, change ...func(spec map[string]any)) *unstructured.Unstructured {
	object := ofKind(gatewayGroup+"/v1", "HTTPRoute")
	object.SetNamespace(namespace)
	object.SetName(name)
	spec := map[string]any{
		"parentRefs": []any{parentOf(metav1.NamespaceSystem, "public")}, "hostnames": []any{host},
		"rules": []any{map[string]any{"backendRefs": []any{map[string]any{"name": service, "port": int64(80)}}}},
	}
	for _, change := range change {
		change(spec)
	}
	object.Object["spec"] = spec
	return object
}

func emptyRoute() *unstructured.Unstructured { return ofKind(gatewayGroup+"/v1", "HTTPRoute") }

// rule changes the first rule of a route.
func rule(change func(rule map[string]any)) func(map[string]any) {
	return func(spec map[string]any) {
		first, _ := spec["rules"].([]any)[0].(map[string]any)
		change(first)
	}
}

func with(name string, value any) func(map[string]any) {
	return func(fields map[string]any) { fields[name] = value }
}

func (w *customWorld) testRoutes(t *testing.T) {
	before := w.tenant.Spec.Sync.CustomResources
	defer w.ask(before...)
	w.installUpstream(t, gatewayModule, "experimental/gateway.networking.k8s.io_gateways.yaml")
	w.installUpstream(t, gatewayModule, "experimental/gateway.networking.k8s.io_httproutes.yaml")
	w.grantReading(t, "routes", gatewayGroup, "gateways", "httproutes")
	w.grantWriting(t, "routes", gatewayGroup, "httproutes")
	w.ask(clusterv1alpha1.CustomResource{Name: httpRoutes})
	w.awaitProblem(t, "Refused", gatewaysName)
	w.ask(clusterv1alpha1.CustomResource{Name: httpRoutes}, clusterv1alpha1.CustomResource{Name: gatewaysName})
	w.awaitProblem(t, "Refused", gatewaysName)
	w.ask(clusterv1alpha1.CustomResource{Name: httpRoutes}, clusterv1alpha1.CustomResource{Name: gatewaysName, Direction: clusterv1alpha1.SyncFromHost})
	w.awaitNoProblem(t)
	for _, name := range []string{"infra", "evil"} {
		create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	offer := map[string]string{mapping.LabelOffer: "true"}
	shared := create(t, w.host, gateway("infra", "public", offer))
	create(t, w.host, gateway("infra", "internal", nil))
	mirrorKey := client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "public"}
	await(t, w.virtual, mirrorKey, gateway("", "", nil), func(mirror *unstructured.Unstructured) error {
		listeners, _ := field(mirror, "spec", "listeners").([]any)
		https, _ := listeners[1].(map[string]any)
		tls, _ := https["tls"].(map[string]any)
		return expect(len(listeners) == 2 && https["name"] == "https" && tls["certificateRefs"] == nil, "listeners %v", listeners)
	})
	never(t, w.virtual, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "internal"}, gateway("", "", nil))

	web := w.namespace(t, "web")
	for index, name := range []string{"app", "other"} {
		create(t, w.virtual, newService("web", name, fmt.Sprintf("10.96.50.%d", index+1)))
		await(t, w.host, client.ObjectKey{Namespace: web, Name: name}, &corev1.Service{}, func(*corev1.Service) error { return nil })
	}
	t.Run("served", func(t *testing.T) { w.testServedRoute(t, web) })
	t.Run("attacks", func(t *testing.T) { w.testRouteAttacks(t, web) })
	t.Run("names", func(t *testing.T) { w.testRouteNames(t, web) })
	t.Run("grants", func(t *testing.T) { w.testRouteGrants(t) })
	t.Run("withdrawn", func(t *testing.T) { w.testRouteWithdrawn(t, web, shared) })
}

// parentIs checks that a host route is attached to one Gateway of the host and no other.
func parentIs(namespace, name string) func(*unstructured.Unstructured) error {
	return func(host *unstructured.Unstructured) error {
		parents, _ := field(host, "spec", "parentRefs").([]any)
		if len(parents) != 1 {
			return fmt.Errorf("parents %v", parents)
		}
		parent, _ := parents[0].(map[string]any)
		return expect(parent["namespace"] == namespace && parent["name"] == name && parent["kind"] == "Gateway", "parent %v", parent)
	}
}

func (w *customWorld) testServedRoute(t *testing.T, web string) {
	route := create(t, w.virtual, httpRoute("web", "app", "app.example.com", "app", func(spec map[string]any) {
		// The second is a Gateway of the tenant's own, for a controller of its own.
		spec["parentRefs"] = append(spec["parentRefs"].([]any), parentOf("web", "mine"))
		spec["rules"].([]any)[0].(map[string]any)["filters"] = []any{map[string]any{
			"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": map[string]any{"name": "other", "port": int64(80), "namespace": "web"}},
		}}
	}))
	key := client.ObjectKey{Namespace: web, Name: "app"}
	host := await(t, w.host, key, emptyRoute(), parentIs("infra", "public"))
	changeStatus(t, w.host, host, func(host *unstructured.Unstructured) {
		host.Object["status"] = map[string]any{"parents": []any{map[string]any{
			"controllerName": "example.com/controller", "parentRef": map[string]any{"namespace": "infra", "name": "public"},
			"conditions": []any{map[string]any{
				"type": "Accepted", "status": "True", "reason": "Accepted", "message": "by infra/public", "lastTransitionTime": "2026-01-01T00:00:00Z",
				"observedGeneration": host.GetGeneration(),
			}},
		}}}
	})
	await(t, w.virtual, client.ObjectKeyFromObject(route), route, func(route *unstructured.Unstructured) error {
		parents, _ := field(route, "status", "parents").([]any)
		if len(parents) != 1 {
			return fmt.Errorf("parents %v", parents)
		}
		parent, _ := parents[0].(map[string]any)
		ref, _ := parent["parentRef"].(map[string]any)
		condition, _ := parent["conditions"].([]any)[0].(map[string]any)
		return errors.Join(
			expect(ref["namespace"] == metav1.NamespaceSystem && ref["name"] == "public", "it names the host's %v", ref),
			expect(condition["status"] == "True" && condition["message"] == "" && condition["observedGeneration"] == route.GetGeneration(), "condition %v", condition))
	})
	change(t, w.virtual, route, func(route *unstructured.Unstructured) {
		route.Object["spec"].(map[string]any)["hostnames"] = []any{"app.example.com", "www.example.com"}
	})
	await(t, w.host, key, host, func(host *unstructured.Unstructured) error {
		names, _ := field(host, "spec", "hostnames").([]any)
		return expect(len(names) == 2, "names %v", names)
	})
}

// testRouteAttacks: whatever a route names, it is attached to shared Gateways and leads to the tenant's own Services only.
func (w *customWorld) testRouteAttacks(t *testing.T, web string) {
	create(t, w.host, newService(web, "foreign", "10.96.50.20"))
	create(t, w.virtual, newService("web", "outside", "", func(service *corev1.Service) {
		service.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "metadata.internal"}
	}))
	backend := func(changes ...func(map[string]any)) func(map[string]any) {
		return rule(func(rule map[string]any) {
			for _, change := range changes {
				change(rule["backendRefs"].([]any)[0].(map[string]any))
			}
		})
	}
	filter := func(filter map[string]any) func(map[string]any) { return rule(with("filters", []any{filter})) }
	for name, test := range map[string]struct {
		change func(map[string]any)
		reason string
	}{
		"no-host":       {func(spec map[string]any) { delete(spec, "hostnames") }, engine.ReasonNotSupported},
		"wildcard":      {with("hostnames", []any{"*.example.com"}), engine.ReasonNotSupported},
		"default":       {with("useDefaultGateways", "All"), engine.ReasonNotSupported},
		"other-space":   {backend(with("namespace", "kube-system")), engine.ReasonNotSupported},
		"other-kind":    {backend(with("group", "infra.example.com"), with("kind", "Upstream")), engine.ReasonNotSupported},
		"foreign":       {backend(with("name", "foreign")), engine.ReasonWaiting},
		"external-name": {backend(with("name", "outside")), engine.ReasonNotSupported},
		"mirrored": {filter(map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{
			"backendRef": map[string]any{"name": "vault", "namespace": "bank", "port": int64(80)},
		}}), engine.ReasonNotSupported},
		"extension": {filter(map[string]any{"type": "ExtensionRef", "extensionRef": map[string]any{"group": "x.example.com", "kind": "Snippet", "name": "x"}}), engine.ReasonNotSupported},
		"rewrite":   {filter(map[string]any{"type": "URLRewrite", "urlRewrite": map[string]any{"path": map[string]any{"type": "ReplaceFullPath", "replaceFullPath": "/x;return 200"}}}), engine.ReasonNotSupported},
		"header":    {rule(with("matches", []any{map[string]any{"headers": []any{map[string]any{"type": "RegularExpression", "name": "x", "value": "(a+)+"}}}})), engine.ReasonNotSupported},
		"pattern":   {rule(with("matches", []any{map[string]any{"path": map[string]any{"type": "RegularExpression", "value": "/.*;return"}}})), engine.ReasonNotSupported},
	} {
		create(t, w.virtual, httpRoute("web", name, name+".example.com", "app", test.change))
		w.awaitEvent(t, "web", name, test.reason)
		never(t, w.host, client.ObjectKey{Namespace: web, Name: name}, emptyRoute())
	}
	// What names no shared Gateway is the tenant's own business, also if it guesses the host's names or forges a mirror.
	forged := create(t, w.virtual, gateway(metav1.NamespaceSystem, "internal", map[string]string{mapping.LabelMirror: "true"}))
	for name, parent := range map[string]map[string]any{
		"guessed": parentOf("infra", "public"), "unshared": parentOf("infra", "internal"), "forged": parentOf(metav1.NamespaceSystem, "internal"),
		"mapped": parentOf(web, "public"), "service": {"group": "", "kind": "Service", "name": "app"},
	} {
		create(t, w.virtual, httpRoute("web", name, name+".example.com", "app", with("parentRefs", []any{parent})))
		never(t, w.host, client.ObjectKey{Namespace: web, Name: name}, emptyRoute())
	}
	awaitGone(t, w.virtual, client.ObjectKeyFromObject(forged), forged)

	// A younger Gateway of the name, in a namespace of somebody else on the host, takes nobody's place.
	create(t, w.host, gateway("evil", "public", map[string]string{mapping.LabelOffer: "true"}))
	create(t, w.virtual, httpRoute("web", "after", "after.example.com", "app"))
	await(t, w.host, client.ObjectKey{Namespace: web, Name: "after"}, emptyRoute(), parentIs("infra", "public"))
}

// testRouteNames: a host name belongs to who had it first, by a route or by an Ingress.
func (w *customWorld) testRouteNames(t *testing.T, web string) {
	create(t, w.host, &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "nginx"}, Spec: networkingv1.IngressClassSpec{Controller: "example.com/nginx"}})
	await(t, w.virtual, client.ObjectKey{Name: "nginx"}, &networkingv1.IngressClass{}, func(*networkingv1.IngressClass) error { return nil })
	held := create(t, w.host, httpRoute("infra", "bank", "bank.example.com", "bank"))
	create(t, w.host, httpRoute("infra", "wild", "*.wild.example.com", "bank"))
	create(t, w.host, newIngress("infra", "shop", "nginx", "shop.example.com", "shop"))
	for name, host := range map[string]string{"taken": "bank.example.com", "under": "a.wild.example.com", "ingress": "shop.example.com"} {
		w.awaitTaken(t, web, name, host)
		never(t, w.host, client.ObjectKey{Namespace: web, Name: name}, emptyRoute())
	}
	create(t, w.virtual, newIngress("web", "thief", "nginx", "bank.example.com", "app"))
	w.awaitEvent(t, "web", "thief", ingress.ReasonHostTaken)
	never(t, w.host, client.ObjectKey{Namespace: web, Name: "thief"}, &networkingv1.Ingress{})

	remove(t, w.host, held)
	await(t, w.host, client.ObjectKey{Namespace: web, Name: "taken"}, emptyRoute(), parentIs("infra", "public"))
}

// awaitTaken makes a route for a name that somebody else has on the host. The engine sees what the host has a moment after it is made;
// a route that was quicker is made again.
func (w *customWorld) awaitTaken(t *testing.T, web, name, host string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the route %s is refused for %s", name, host), func() error {
		route := httpRoute("web", name, host, "app")
		if err := client.IgnoreAlreadyExists(w.virtual.Create(t.Context(), route)); err != nil {
			return err
		}
		if err := w.host.Get(t.Context(), client.ObjectKey{Namespace: web, Name: name}, emptyRoute()); err == nil {
			remove(t, w.virtual, route)
			return errors.New("it was copied before the engine saw the other one")
		}
		events := &corev1.EventList{}
		if err := w.virtual.List(t.Context(), events, client.InNamespace("web"), client.MatchingFields{"involvedObject.name": name, "reason": ingress.ReasonHostTaken}); err != nil {
			return err
		}
		return expect(len(events.Items) > 0, "no event says that it is taken")
	})
}

// testRouteGrants: a route leads to a Service of another namespace of the tenant's if that namespace says so, and to none of others.
func (w *customWorld) testRouteGrants(t *testing.T) {
	before := w.tenant.Spec.Sync.CustomResources
	defer w.ask(before...)
	w.installUpstream(t, gatewayModule, "standard/gateway.networking.k8s.io_referencegrants.yaml")
	w.grantReading(t, "grants", gatewayGroup, "referencegrants")
	w.grantWriting(t, "grants", gatewayGroup, "referencegrants")
	w.ask(
		clusterv1alpha1.CustomResource{Name: httpRoutes}, clusterv1alpha1.CustomResource{Name: gatewaysName, Direction: clusterv1alpha1.SyncFromHost},
		clusterv1alpha1.CustomResource{Name: "referencegrants." + gatewayGroup},
	)
	w.awaitNoProblem(t)
	web, shop := mapping.HostNamespace(w.tenant.ID, "web"), w.namespace(t, "shop")
	create(t, w.virtual, newService("shop", "till", "10.96.50.30"))
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "till"}, &corev1.Service{}, func(*corev1.Service) error { return nil })
	into := func(namespace string) func(map[string]any) {
		return rule(func(rule map[string]any) {
			backend, _ := rule["backendRefs"].([]any)[0].(map[string]any)
			backend["namespace"] = namespace
		})
	}
	create(t, w.virtual, httpRoute("web", "till", "till.example.com", "till", into("shop")))
	w.awaitEvent(t, "web", "till", engine.ReasonNotSupported)
	never(t, w.host, client.ObjectKey{Namespace: web, Name: "till"}, emptyRoute())

	grant := ofKind(gatewayGroup+"/v1beta1", "ReferenceGrant")
	grant.SetNamespace("shop")
	grant.SetName("web")
	grant.Object["spec"] = map[string]any{
		"from": []any{
			map[string]any{"group": gatewayGroup, "kind": "HTTPRoute", "namespace": "web"},
			map[string]any{"group": gatewayGroup, "kind": "Gateway", "namespace": "web"},
		},
		"to": []any{map[string]any{"group": "", "kind": "Service", "name": "till"}, map[string]any{"group": "", "kind": "Secret"}},
	}
	create(t, w.virtual, grant)
	await(t, w.host, client.ObjectKey{Namespace: shop, Name: "web"}, ofKind(gatewayGroup+"/v1beta1", "ReferenceGrant"), func(host *unstructured.Unstructured) error {
		from, _ := field(host, "spec", "from").([]any)
		to, _ := field(host, "spec", "to").([]any)
		if len(from) != 1 || len(to) != 1 {
			return fmt.Errorf("from %v to %v", from, to)
		}
		return expect(from[0].(map[string]any)["namespace"] == web && to[0].(map[string]any)["kind"] == "Service", "from %v to %v", from, to)
	})
	await(t, w.host, client.ObjectKey{Namespace: web, Name: "till"}, emptyRoute(), func(host *unstructured.Unstructured) error {
		rules, _ := field(host, "spec", "rules").([]any)
		backend, _ := rules[0].(map[string]any)["backendRefs"].([]any)[0].(map[string]any)
		return expect(backend["namespace"] == shop && backend["name"] == "till", "backend %v", backend)
	})
	// A namespace of the host, or of the host's name of one of one's own, grants nothing and is none of the tenant's.
	for name, namespace := range map[string]string{"of-host": "infra", "by-host-name": shop, "not-named": "kube-system"} {
		create(t, w.virtual, httpRoute("web", name, name+".example.com", "till", into(namespace)))
		w.awaitEvent(t, "web", name, engine.ReasonNotSupported)
		never(t, w.host, client.ObjectKey{Namespace: web, Name: name}, emptyRoute())
	}
	// The Service may become one that leads elsewhere.
	change(t, w.virtual, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "till"}}, func(service *corev1.Service) {
		service.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "metadata.internal"}
	})
	awaitGone(t, w.host, client.ObjectKey{Namespace: web, Name: "till"}, emptyRoute())
}

// testRouteWithdrawn: what a route needs may go; then it goes from the host, with what was said of it.
func (w *customWorld) testRouteWithdrawn(t *testing.T, web string, shared *unstructured.Unstructured) {
	change(t, w.virtual, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "other"}}, func(service *corev1.Service) {
		service.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "metadata.internal"}
	})
	awaitGone(t, w.host, client.ObjectKey{Namespace: web, Name: "app"}, emptyRoute())
	await(t, w.virtual, client.ObjectKey{Namespace: "web", Name: "app"}, emptyRoute(), func(route *unstructured.Unstructured) error {
		parents, _ := field(route, "status", "parents").([]any)
		return expect(len(parents) == 0, "the host still says %v", parents)
	})
	evil := gateway("evil", "public", nil)
	remove(t, w.host, evil)
	change(t, w.host, shared, func(shared *unstructured.Unstructured) { shared.SetLabels(nil) })
	awaitGone(t, w.host, client.ObjectKey{Namespace: web, Name: "after"}, emptyRoute())
	awaitGone(t, w.virtual, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "public"}, gateway("", "", nil))
	await(t, w.virtual, client.ObjectKey{Namespace: "web", Name: "after"}, emptyRoute(), isThere)
}
