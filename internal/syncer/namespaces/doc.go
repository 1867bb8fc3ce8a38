// Package namespaces makes mapped namespaces: the host namespaces that stand for the namespaces of virtual clusters.
//
// It is the one place that does, for the sync engine and for the address door. It does not delete them, does not look at
// the tenant's side and copies no tenant labels; that is kind "namespace". Its invariant: when Ensure returns a name, the
// namespace has its labels, its pod security level, its network policies and the agent's RoleBinding, so that no pod
// ever starts in a namespace that is not fenced yet.
package namespaces
