// Package hostusage counts what each tenant keeps on the host, and says when it is as much as it may be.
//
// All tenants share the host's datastore, and a full one stops the whole host. The count is the agent's own, from what its
// caches show and what it writes: it is behind by the writes under way, so a tenant can exceed a bound by a few objects, and
// after a start it is complete when the caches are. It is a fence against one tenant filling the host and no quota;
// nothing that is on the host is ever removed because of it. It knows no types of Kubernetes.
package hostusage
