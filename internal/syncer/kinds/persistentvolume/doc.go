// Package persistentvolume mirrors into a virtual cluster the host's PersistentVolumes that its claims are bound to.
//
// A mirror has the host's name, so that a claim's spec.volumeName is the same on both sides, and carries the label
// mapping.LabelMirror. It says how large the volume is, how it may be accessed and what becomes of it; its source is an inert
// CSI volume of a driver that does not exist: nobody mounts a mirror, pods are mounted on the host.
//
// Invariants: a PersistentVolume of the tenant never becomes one of the host, so no source that a tenant writes has any
// effect; only objects with the mirror label are written or deleted; a mirror belongs to a host volume whose claimRef is
// in one of this tenant's mapped namespaces, and to no other.
package persistentvolume
