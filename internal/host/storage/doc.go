// Package storage is the dynamic provisioner of an embedded host: a PersistentVolume is a folder in the data folder.
//
// Volumes are bound at once, since they are on the first node only. Sizes are not enforced. Its invariant: it removes a folder only
// for a PersistentVolume that it made, that is released or being deleted, and whose reclaim policy says so.
package storage

// ClassName is the name of the default StorageClass.
const ClassName = "local"

// provisionerName stands in the class, in the claims and in the volumes.
const provisionerName = "local.matryoshka.dev"

// finalizer keeps a volume until its folder is gone. It is the one that provisioners outside of Kubernetes use, which the
// upstream controllers know.
const finalizer = "external-provisioner.volume.kubernetes.io/finalizer"
