// Package customresource keeps custom resources in step without code for each: what spec.sync.customResources of a
// VirtualCluster names.
//
// Whoever writes that spec may be the tenant, so naming a kind is a wish and nothing more. What counts is said on the host,
// by whoever runs it: the rights of the agent to exactly this kind (package file grant.go), and annotations of the
// CustomResourceDefinition. Design document 0006 has the reasons.
//
// Invariants: a schema goes from the host to the tenant and never back, and the tenant's copy of it reaches nothing of the
// host; the tenant's own definition of the same name is left alone; no field of a host copy that looks like the name of a
// namespace has what the tenant wrote, but the tenant's mapped namespace; nothing is deleted in a tenant because a kind is no
// longer asked for, granted or known.
package customresource
