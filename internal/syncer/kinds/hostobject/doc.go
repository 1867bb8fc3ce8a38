// Package hostobject shows single ConfigMaps and Secrets of the host in virtual clusters: what spec.sync.hostObjects of a
// VirtualCluster names.
//
// Whoever writes that spec may be the tenant, so naming an object is a wish. What may be read is said on the host: objects
// beside the VirtualCluster, whose makers could mount them into pods as well, unless they are labelled not to be; and
// elsewhere those that are labelled to be shared. Secrets elsewhere need a right of the agent besides, which it has not by
// itself. Objects are not watched but looked at: a watch of Secrets would be a right to all of them.
//
// Invariants: nothing is read into a tenant that its owner did not share, and a refusal does not tell whether it exists; no
// token of the host and nothing that the agent has made is ever shown; a tenant's own object is never written.
package hostobject
