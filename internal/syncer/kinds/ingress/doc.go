// Package ingress carries the tenant's Ingresses to the host's ingress controllers, and their addresses back.
//
// All tenants share these controllers, and a controller serves what any Ingress asks of it: any host name, any Service that
// its own network reaches, any text that an annotation puts into its configuration. So an Ingress goes down only as far as
// it concerns the tenant alone, and is told in an event what of it stays behind.
//
// Invariants of a host Ingress:
//   - Its class is one of the host's that is offered to virtual clusters, and shown in the tenant as a mirror.
//   - Every rule has a whole host name that no Ingress of anybody else has, or has a wildcard over; who has had it first
//     keeps it. A rule stays, without paths, while its Services are away, so that nobody takes its name meanwhile.
//   - Every backend is a Service of the tenant that has its own copy on the host, and none of type ExternalName.
//   - Every certificate is a Secret of the tenant that has its own copy on the host, and is for names of the rules only.
//   - Annotations are those of a list, with values that cannot be anything else than what they should be.
//   - There is no default backend: it would answer for names that nobody has.
package ingress
