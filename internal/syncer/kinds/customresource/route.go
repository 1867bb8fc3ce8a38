package customresource

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/ingress"
)

// What a route may say. The API grows, and every new field may be another way to name something; so what is not here is refused.
var (
	routeFields   = sets.New("parentRefs", "hostnames", "rules")
	ruleFields    = sets.New("name", "matches", "filters", "backendRefs", "timeouts", "retry", "sessionPersistence")
	backendFields = sets.New("group", "kind", "name", "namespace", "port", "weight", "filters")
	mirrorFields  = sets.New("backendRef", "percent", "fraction")
	filterTypes   = map[string]string{
		"RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier", "RequestRedirect": "requestRedirect",
		"URLRewrite": "urlRewrite", "RequestMirror": "requestMirror", "CORS": "cors",
	}
)

// translateRoute makes a route of a tenant one of the host: attached to Gateways that the host shares and to nothing else, for host
// names that nobody else has, with Services of its own namespace behind it.
func translateRoute(ctx context.Context, t translating) error {
	r := routing{translating: t, ctx: ctx}
	spec := fieldsOf(t.content, "spec")
	if err := r.parents(spec); err != nil {
		return err
	}
	if err := onlyKnown("spec", spec, routeFields); err != nil {
		return err
	}
	if err := r.hostnames(spec["hostnames"]); err != nil {
		return err
	}
	rules, _ := spec["rules"].([]any)
	for index, rule := range rules {
		rule, _ := rule.(map[string]any)
		if err := r.rule(fmt.Sprintf("spec.rules[%d]", index), rule); err != nil {
			return err
		}
	}
	return nil
}

// routing is the translation of one route.
type routing struct {
	translating
	ctx context.Context
}

func onlyKnown(path string, fields map[string]any, known sets.Set[string]) error {
	for name := range fields {
		if !known.Has(name) {
			return engine.Refuse(engine.ReasonNotSupported, "%s.%s: this field is not passed on, since Gateways are shared; remove it", path, name)
		}
	}
	return nil
}

// parents leaves the Gateways that the host shares. A route that names none of them is for a controller of the tenant's own.
func (r routing) parents(spec map[string]any) error {
	parents, _ := spec["parentRefs"].([]any)
	kept := []any{}
	for _, parent := range parents {
		parent, _ := parent.(map[string]any)
		key, isGateway := parentKey(parent, r.key().Namespace)
		if !isGateway {
			continue
		}
		host, isShared, err := sharedGateway(r.ctx, r.scope, key)
		if err != nil {
			return err
		}
		if !isShared {
			continue
		}
		named := picked(parent, "sectionName", "port")
		named["group"], named["kind"], named["namespace"], named["name"] = gatewayGroup, "Gateway", host.Namespace, host.Name
		kept = append(kept, named)
	}
	if len(kept) == 0 {
		return errNotForHost
	}
	spec["parentRefs"] = kept
	return nil
}

// hostnames are the policy of Ingresses: each name is named, and belongs to who had it first.
func (r routing) hostnames(value any) error {
	names, _ := value.([]any)
	if len(names) == 0 {
		return engine.Refuse(engine.ReasonNotSupported, "spec.hostnames is empty: the route would answer for names of others; name a host")
	}
	for _, name := range names {
		name, _ := name.(string)
		if name == "" || strings.HasPrefix(name, "*") {
			return engine.Refuse(engine.ReasonNotSupported, "spec.hostnames: %q would take all names under it from others; name each host", name)
		}
		isTaken, err := r.isTaken(name)
		if err != nil {
			return err
		}
		if isTaken {
			return engine.Refuse(ingress.ReasonHostTaken, "spec.hostnames: %q is used by somebody else on this cluster; choose another", name)
		}
	}
	return nil
}

func (r routing) isTaken(name string) (bool, error) {
	if !r.pair.HasHost {
		return ingress.IsTaken(r.ctx, r.scope, nil, nil, name)
	}
	had, _, err := unstructured.NestedStringSlice(r.pair.Host.Object, "spec", "hostnames")
	if err != nil {
		had = nil // something else than names: then it has none
	}
	return ingress.IsTaken(r.ctx, r.scope, r.pair.Host, had, name)
}

func (r routing) rule(path string, rule map[string]any) error {
	if err := onlyKnown(path, rule, ruleFields); err != nil {
		return err
	}
	matches, _ := rule["matches"].([]any)
	for _, match := range matches {
		if err := checkMatch(path+".matches", match); err != nil {
			return err
		}
	}
	if err := r.filters(path, rule); err != nil {
		return err
	}
	backends, _ := rule["backendRefs"].([]any)
	for index, backend := range backends {
		backend, _ := backend.(map[string]any)
		path := fmt.Sprintf("%s.backendRefs[%d]", path, index)
		if err := r.backend(path, backend); err != nil {
			return err
		}
		if err := r.filters(path, backend); err != nil {
			return err
		}
	}
	return nil
}

// checkMatch refuses patterns, which are run by what all share, and paths that are more than that.
func checkMatch(path string, match any) error {
	fields, ok := match.(map[string]any)
	if !ok {
		return nil
	}
	if fields["type"] == "RegularExpression" {
		return engine.Refuse(engine.ReasonNotSupported, "%s: patterns are not passed on, since Gateways are shared; match a plain value", path)
	}
	if err := checkPath(path+".path", fieldsOf(fields, "path")["value"]); err != nil {
		return err
	}
	for name, value := range fields {
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, element := range list {
			if err := checkMatch(path+"."+name, element); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPath(path string, value any) error {
	if text, _ := value.(string); !ingress.IsSafePath(text) {
		return engine.Refuse(engine.ReasonNotSupported, "%s: the path %q has characters that controllers may take for something else; leave them out", path, text)
	}
	return nil
}

func (r routing) filters(path string, of map[string]any) error {
	filters, _ := of["filters"].([]any)
	for index, filter := range filters {
		filter, _ := filter.(map[string]any)
		path := fmt.Sprintf("%s.filters[%d]", path, index)
		name, _ := filter["type"].(string)
		field, isKnown := filterTypes[name]
		if !isKnown {
			return engine.Refuse(engine.ReasonNotSupported, "%s: filters of type %q are not passed on, since Gateways are shared; remove it", path, name)
		}
		if err := onlyKnown(path, filter, sets.New("type", field)); err != nil {
			return err
		}
		replacement := fieldsOf(fieldsOf(filter, field), "path")
		for _, name := range []string{"replaceFullPath", "replacePrefixMatch"} {
			if err := checkPath(path+"."+field+".path", replacement[name]); err != nil {
				return err
			}
		}
		copied := fieldsOf(filter, "requestMirror")
		if copied == nil {
			continue
		}
		if err := onlyKnown(path+".requestMirror", copied, mirrorFields); err != nil {
			return err
		}
		if err := r.backend(path+".requestMirror.backendRef", fieldsOf(copied, "backendRef")); err != nil {
			return err
		}
	}
	return nil
}

// backend makes sure that traffic goes to a Service that is the tenant's, of the route's own namespace or of one that grants it.
func (r routing) backend(path string, backend map[string]any) error {
	if err := onlyKnown(path, backend, backendFields); err != nil {
		return err
	}
	if !isOr(backend["group"], "") || !isOr(backend["kind"], "Service") {
		return engine.Refuse(engine.ReasonNotSupported, "%s: a backend must be a Service", path)
	}
	name, _ := backend["name"].(string)
	service := r.beside(name)
	if namespace, _ := backend["namespace"].(string); namespace != "" && namespace != service.Namespace {
		service.Namespace = namespace // the rules translate it
		if err := r.checkGranted(path, service); err != nil {
			return err
		}
	} else {
		delete(backend, "namespace") // its own, under whatever name
	}
	refusal, err := ingress.CheckBackend(r.ctx, r.scope, service)
	if err != nil || refusal == nil {
		return err
	}
	return engine.Refuse(refusal.Reason, "%s: Service %q %s", path, name, refusal.Message)
}

func (r routing) checkGranted(path string, service engine.Key) error {
	isGranted, err := r.isGranted(service)
	if err != nil || isGranted {
		return err
	}
	return engine.Refuse(engine.ReasonNotSupported,
		"%s: a Service of another namespace needs a ReferenceGrant there that names routes of this one, and %s in spec.sync.customResources of the VirtualCluster", path, grants)
}

// routesBeside wakes the routes that a change of a tenant's Service may concern: those of its namespace, and with grants all.
func routesBeside(scope *engine.Scope, virtualService client.Object) []engine.Key {
	return routesIn(scope, virtualService.GetNamespace())
}

func routesBesideCopy(scope *engine.Scope, hostService client.Object) []engine.Key {
	key, ok := scope.TenantKey(hostService)
	if !ok {
		return nil
	}
	return routesIn(scope, key.Namespace)
}

func routesIn(scope *engine.Scope, namespace string) []engine.Key {
	if _, isWished := wish(scope.Tenant, grants); isWished {
		namespace = metav1.NamespaceAll
	}
	var keys []engine.Key
	for _, asked := range scope.Tenant.Spec.Sync.CustomResources {
		if builtIns[asked.Name].unique == "" {
			continue
		}
		// A failure means that the following ends.
		found, err := keysOf(context.Background(), scope, asked.Name, client.InNamespace(namespace))
		if err == nil {
			keys = append(keys, found...)
		}
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
