// Package pod runs the tenant's pods on the host and tells the tenant what became of them.
//
// A pod is a state machine with a marker. The marker is mapping.AnnotationHostUID on the tenant's pod: the UID of its host
// pod, written in the same call as the binding.
//
//	no marker, no host pod      post the host pod (after everything that it refers to is on the host)
//	no marker, host pod         wait for its node, then bind the tenant's pod and set the marker
//	marker, host pod            status up; changes, readiness gates and deletion down
//	marker, no host pod         ask the host; really gone: terminal status, then delete, as a kubelet would
//	host pod of a predecessor   wait until it is gone
//
// A virtual cluster that sleeps loses its host pods and keeps its pods. Each sleep begins a new epoch, written down before the
// first host pod is removed. Host pods and markers tell theirs: what is missing of an earlier epoch is made again, as after the
// reboot of a node; see epoch.go.
//
// It does not choose nodes, does not restart anything and keeps no state that it could not find again: what it
// remembers (when a token must be refreshed) is read from the token after a restart.
//
// Invariants: status flows from host to tenant only, but for the condition types that spec.readinessGates names;
// status never crosses UIDs; a refused pod stays Pending and is never deleted for it; a host pod has no host
// ServiceAccount token, and mounts nothing that is not the tenant's own.
package pod
