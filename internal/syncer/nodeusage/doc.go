// Package nodeusage sums what the pods of the host request, node by node and virtual cluster by virtual cluster, so that the
// mirrors of nodes can tell a tenant's own scheduler what is left for it.
//
// It watches all pods of the host once for all tenants, keeps of each only its node, whose it is and what it requests, and
// begins with that only when somebody asks. It knows no tenant's API server and writes nothing.
//
// Invariants: what it gives out are sums, never a pod; sums of a node change at most once per period, however many pods come and
// go; until every pod has been counted it says that it does not know.
package nodeusage
