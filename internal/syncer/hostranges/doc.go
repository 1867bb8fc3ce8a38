// Package hostranges knows which addresses are the host's: those of its pods, Services and nodes, and those that mean a
// node itself or its neighbours.
//
// Everything that keeps a tenant away from addresses asks here: the fence of mapped namespaces, the tenant's own network
// policies, its EndpointSlices. Its invariant: where the host does not tell a range, more is protected and not less.
package hostranges
