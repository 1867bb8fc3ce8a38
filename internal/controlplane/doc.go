// Package controlplane is the Kubernetes of one tenant in one process: upstream's kube-apiserver, the controllers of
// kube-controller-manager that a tenant needs, optionally kube-scheduler, and a datastore.
//
// It knows nothing of the host cluster but the two doors of the agent; it copies no object and runs no pod. Invariants:
// no globals of its own, so that a process can hold many control planes and start and stop each of them; upstream's
// code is used unpatched; Stop returns only when everything that Start began has ended, and a write that was
// acknowledged before is in the datastore.
package controlplane
