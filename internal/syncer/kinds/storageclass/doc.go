// Package storageclass mirrors the StorageClasses of the host into virtual clusters, so that a claim can name them.
//
// A mirror has the host's name, carries the label mapping.LabelMirror, and says how the class behaves; it does not say how
// the host provisions: parameters (which may name secrets, pools and servers) and mount options stay on the host.
//
// Invariants: only objects with the mirror label are written or deleted; a class that the tenant made itself is left
// alone, even when the host has one of the same name; what a tenant changes on a mirror is put back.
package storageclass
