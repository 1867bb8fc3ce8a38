// Package bootstrap writes the objects that every Kubernetes cluster starts with: the system namespaces, the RBAC
// policy and the system priority classes.
//
// Upstream's hooks do the same, but each sleeps a second before its first try and ends the whole process when it does
// not succeed in time; many control planes share a process here. What the objects are is still upstream's own data.
// Invariants: idempotent; objects and rules that the tenant added stay; an object whose owner opted out of
// reconciliation is not touched.
package bootstrap
