package customresource

// builtIn is what the agent knows of a kind beside its schema. Kinds that it does not know are copied by what they declare.
type builtIn struct {
	// show makes, of a host object, what tenants see of it: its content and its status, without what only the host should know.
	// With it the kind goes from the host to the tenants only, object by object: a class, or what everybody shares.
	show func(hostObject map[string]any) (content, status map[string]any)
	// onlyIfLabelled shows only objects that whoever runs the host has marked by mapping.LabelOffer.
	onlyIfLabelled bool
	// into is the namespace of the tenant in which objects are shown that have one on the host, which is nothing to tenants.
	into string
}

// builtIns are the kinds that are known, by the names of their definitions.
var builtIns = map[string]builtIn{
	"gatewayclasses.gateway.networking.k8s.io":      {show: showGatewayClass},
	"volumesnapshotclasses.snapshot.storage.k8s.io": {show: showSnapshotClass},
}

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
