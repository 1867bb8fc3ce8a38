package customresource

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

const grants = "referencegrants." + gatewayGroup

// routeKinds are those whose routes may lead to Services of another namespace, if that says so.
var routeKinds = sets.New("HTTPRoute", "GRPCRoute", "TLSRoute")

// translateGrant makes a ReferenceGrant of a tenant one of the host: for routes to Services. What else it grants, such as
// Secrets for Gateways, is for the tenant's own controllers: the host's Gateways are not the tenant's. The namespaces are translated by the rules.
func translateGrant(_ context.Context, t translating) error {
	spec := fieldsOf(t.content, "spec")
	from, to := []any{}, []any{}
	for _, one := range listOfFields(spec["from"]) {
		if kind, _ := one["kind"].(string); one["group"] == gatewayGroup && routeKinds.Has(kind) {
			from = append(from, picked(one, "group", "kind", "namespace"))
		}
	}
	for _, one := range listOfFields(spec["to"]) {
		if isOr(one["group"], "") && one["kind"] == "Service" {
			to = append(to, picked(one, "group", "kind", "name"))
		}
	}
	if len(from) == 0 || len(to) == 0 {
		return errNotForHost
	}
	t.content["spec"] = map[string]any{"from": from, "to": to}
	return nil
}

// listOfFields are those elements of a list that are fields.
func listOfFields(value any) []map[string]any {
	list, _ := value.([]any)
	var found []map[string]any
	for _, element := range list {
		if element, ok := element.(map[string]any); ok {
			found = append(found, element)
		}
	}
	return found
}

// isGranted tells whether the namespace of a Service lets a route of another namespace lead to it. A controller of the host that
// does not ask is no way around what the tenant has said.
func (r routing) isGranted(service engine.Key) (bool, error) {
	if _, isWished := wish(r.scope.Tenant, grants); !isWished {
		return false, nil
	}
	typed, dynamic, ok := r.scope.Dynamic(grants)
	if !ok {
		return false, engine.Refuse(engine.ReasonWaiting, "the ReferenceGrants of the virtual cluster are not known yet")
	}
	list := listOf(dynamic)
	if err := typed.VirtualCache.List(r.ctx, list, client.InNamespace(service.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list referencegrants: %w", err)
	}
	for index := range list.Items {
		if grant := &list.Items[index]; grant.GetDeletionTimestamp() == nil && r.grants(fieldsOf(grant.Object, "spec"), service.Name) {
			return true, nil
		}
	}
	return false, nil
}

func (r routing) grants(spec map[string]any, service string) bool {
	isFrom, isTo := false, false
	for _, one := range listOfFields(spec["from"]) {
		isFrom = isFrom || one["group"] == gatewayGroup && one["kind"] == r.pair.Virtual.GetKind() && one["namespace"] == r.key().Namespace
	}
	for _, one := range listOfFields(spec["to"]) {
		isTo = isTo || isOr(one["group"], "") && one["kind"] == "Service" && (isOr(one["name"], "") || one["name"] == service)
	}
	return isFrom && isTo
}
