package controlplane

import "k8s.io/apimachinery/pkg/runtime/schema"

// watchCached are the built-in kinds that have a watch cache: those of which a tenant may have thousands, or that many
// clients watch. A cache wakes about once a second for as long as it lives, also when nothing is asked of it, and the
// caches of all 60 built-in kinds take half of the CPU of an idle control plane. The other kinds are few and
// have two or three watchers each; their lists and watches are answered by the datastore, which is in this process.
//
// Services must not be here. Upstream's first attempt at an update takes the cache's copy, and when that is old it fails
// at the store and keeps the node ports that it has allocated, for minutes. Upstream then allocates others, but here the
// host names them, and the attempt that follows would be refused its own.
var watchCached = map[schema.GroupResource]bool{
	{Resource: "configmaps"}:                                true,
	{Resource: "namespaces"}:                                true,
	{Resource: "nodes"}:                                     true,
	{Resource: "persistentvolumeclaims"}:                    true,
	{Resource: "persistentvolumes"}:                         true,
	{Resource: "pods"}:                                      true,
	{Resource: "secrets"}:                                   true,
	{Resource: "serviceaccounts"}:                           true,
	{Group: "apps", Resource: "deployments"}:                true,
	{Group: "apps", Resource: "replicasets"}:                true,
	{Group: "apps", Resource: "statefulsets"}:               true,
	{Group: "batch", Resource: "jobs"}:                      true,
	{Group: "discovery.k8s.io", Resource: "endpointslices"}: true,
}

// uncached tells which built-in kinds have no watch cache.
func uncached(resource schema.GroupResource) bool { return !watchCached[resource] }
