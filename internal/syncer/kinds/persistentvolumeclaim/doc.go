// Package persistentvolumeclaim copies the claims of a tenant to the host, which provisions and binds, and brings the
// binding back.
//
// A claim is the one kind of object whose host copy is not made again when it vanishes: a new claim would get a new,
// empty volume, and the tenant would write to it unaware. The claim becomes Lost in the tenant instead, and is bound
// again only to the very volume (by UID) that it was bound to.
//
// Invariants: a host claim is created at most once for a tenant claim that may have held data; a tenant cannot name a
// volume of the host that was not bound to a claim of this name before, nor choose one with a selector; binding, phase,
// capacity and conditions flow host → tenant; only the requested size, once bound, and metadata flow tenant → host later.
package persistentvolumeclaim
