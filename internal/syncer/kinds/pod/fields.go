package pod

import (
	"slices"
	"strings"
)

// Decision says what becomes of a field of the Pod API between a tenant's pod and its host pod. It does nothing itself: the
// tests hold what translate and statusUp do against it, and the reference for users is written from it.
type Decision string

// The decisions.
const (
	// Carried arrives unchanged, but for what is decided of the fields inside it: down for the spec, up for the status.
	Carried Decision = "carried"
	// Rewritten arrives with another value, which means to the host what the tenant's means to the tenant.
	Rewritten Decision = "rewritten"
	// Replaced is answered by something of the agent's own.
	Replaced Decision = "replaced"
	// Dropped does not arrive, and nothing is missing for it.
	Dropped Decision = "dropped"
	// Told does not arrive, and an event NotApplied says so; the pod runs.
	Told Decision = "dropped with an event"
	// Refused keeps the pod Pending, with an event NotSupported.
	Refused Decision = "refused"
	// Own is the business of the tenant's own API server and controllers, and is left alone.
	Own Decision = "left to the virtual cluster"
)

// Field is one field of a type of the Pod API.
type Field struct {
	// Type and Name are those of the API, such as PodSpec and nodeName.
	Type, Name string
	Decision   Decision
	// Note says how and why; "" where the decision says it all.
	Note string
}

// Fields are all fields of the spec and the status of a pod that somebody has decided about, by type. What is inside of a
// field that is refused, dropped or left to the tenant is not listed.
func Fields() []Field {
	var all []Field
	for _, group := range slices.Concat(specGroups, volumeGroups, statusGroups) {
		for _, name := range strings.Fields(group.carried) {
			all = append(all, Field{Type: group.of, Name: name, Decision: Carried})
		}
		for _, field := range group.others {
			field.Type = group.of
			all = append(all, field)
		}
	}
	return all
}

// fieldGroup are the fields of one type; those of types inside it without a name of their own count as its own.
type fieldGroup struct {
	of      string
	carried string
	others  []Field
}
