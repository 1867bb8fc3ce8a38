// Package controllers runs the controllers of kube-controller-manager that a tenant needs, in the process of its API
// server, from upstream's own descriptors.
//
// It is not kube-controller-manager: it has no flags, no server, no leader election and nothing process-wide, so that
// many sets run side by side. Invariants: what needs real nodes or real volumes is off, because the host does it; Run
// returns only when every controller has ended.
package controllers
