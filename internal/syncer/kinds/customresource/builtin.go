package customresource

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

// builtIn is what the agent knows of a kind beside its schema. Kinds that it does not know are copied by what they declare.
type builtIn struct {
	// show makes, of a host object, what tenants see of it: its content and its status, without what only the host should know.
	// With it the kind goes from the host to the tenants only, object by object: a class, or what everybody shares.
	show func(hostObject map[string]any) (content, status map[string]any)
	// onlyIfLabelled shows only objects that whoever runs the host has marked by mapping.LabelOffer.
	onlyIfLabelled bool
	// into is the namespace of the tenant in which objects are shown that have one on the host, which is nothing to tenants.
	into string

	// translate makes, in place, what a tenant's object says fit for the host, beyond what the rules do.
	translate func(ctx context.Context, t translating) error
	// settled is the field of the spec of which translate alone decides: it holds names of the host that the rules would refuse.
	settled string
	// references are the paths of names of namespaces, which the rules translate, beside those that are declared.
	references []string
	// needs are the kinds, which are shown, that the spec must name besides: objects of them decide about those of this kind.
	needs []string
	// unique is the path of names of which each may belong to one tenant only.
	unique string
	// withdraws takes an object from the host that is refused, or that is not for the host at all.
	withdraws bool
	// isMadeOnce tells, of a status, that what the host made of the object cannot be made again: not the same, that is.
	isMadeOnce func(status map[string]any) bool
	// status makes the tenant's status of the host's. Nil copies it.
	status func(t translating, hostStatus map[string]any) map[string]any
}

// translating is one object of a tenant that goes to the host.
type translating struct {
	// scope is that of the built-in kinds; typed is that of this one.
	scope, typed *engine.Scope
	known        state
	pair         hostcopy.Pair[*unstructured.Unstructured]
	// content is what the host's copy is to say.
	content map[string]any
}

// key is that of the tenant's object.
func (t translating) key() engine.Key { return engine.KeyOf(t.pair.Virtual) }

// beside is the key of another object of the namespace.
func (t translating) beside(name string) engine.Key {
	return engine.Key{Namespace: t.pair.Virtual.GetNamespace(), Name: name}
}

// errNotForHost says that an object is for a controller of the tenant's own.
var errNotForHost = errors.New("not for the host")

// builtIns are the kinds that are known, by the names of their definitions.
var builtIns = map[string]builtIn{
	"gatewayclasses." + gatewayGroup: {show: showGatewayClass},
	gateways:                         sharedGateways,
	snapshotClasses:                  {show: showSnapshotClass},
	snapshots:                        {translate: translateSnapshot, needs: []string{snapshotClasses}, isMadeOnce: isBound},

	grants: {translate: translateGrant, references: []string{".spec.from[*].namespace"}, withdraws: true},

	"httproutes." + gatewayGroup: route,
	"grpcroutes." + gatewayGroup: route,
	"tlsroutes." + gatewayGroup:  route,
}

var sharedGateways = builtIn{show: showGateway, onlyIfLabelled: true, into: metav1.NamespaceSystem}

var route = builtIn{
	translate: translateRoute, settled: "parentRefs", needs: []string{gateways}, unique: "spec.hostnames", withdraws: true, status: routeStatus,
	references: []string{
		".spec.rules[*].backendRefs[*].namespace",
		".spec.rules[*].backendRefs[*].filters[*].requestMirror.backendRef.namespace",
		".spec.rules[*].filters[*].requestMirror.backendRef.namespace",
	},
}

const (
	gatewayGroup    = "gateway.networking.k8s.io"
	gateways        = "gateways." + gatewayGroup
	snapshotGroup   = "snapshot.storage.k8s.io"
	snapshots       = "volumesnapshots." + snapshotGroup
	snapshotClasses = "volumesnapshotclasses." + snapshotGroup
)

// showGatewayClass leaves out the parameters, which name an object of the host.
func showGatewayClass(hostObject map[string]any) (content, status map[string]any) {
	hostStatus := fieldsOf(hostObject, "status")
	status = picked(hostStatus, "supportedFeatures")
	status["conditions"] = silent(hostStatus["conditions"])
	return map[string]any{"spec": picked(fieldsOf(hostObject, "spec"), "controllerName", "description")}, status
}

// showSnapshotClass leaves out the parameters, which may name Secrets of the host.
func showSnapshotClass(hostObject map[string]any) (content, status map[string]any) {
	return picked(hostObject, "driver", "deletionPolicy"), nil
}

// fieldsOf is a field that holds fields; it may be nil.
func fieldsOf(object map[string]any, name string) map[string]any {
	fields, _ := object[name].(map[string]any)
	return fields
}

// picked are those of some fields that have these names.
func picked(fields map[string]any, names ...string) map[string]any {
	some := map[string]any{}
	for _, name := range names {
		if value, ok := fields[name]; ok {
			some[name] = value
		}
	}
	return some
}

// silent are conditions without their messages, which are written for whoever runs the host.
func silent(conditions any) []any {
	list, _ := conditions.([]any)
	said := []any{}
	for _, condition := range list {
		condition, ok := condition.(map[string]any)
		if !ok {
			continue
		}
		some := picked(condition, "type", "status", "reason", "lastTransitionTime", "observedGeneration")
		some["message"] = ""
		said = append(said, some)
	}
	return said
}
