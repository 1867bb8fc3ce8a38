// Package storageclass mirrors the StorageClasses of the host into virtual clusters, so that a claim can name them.
//
// How mirrors are kept is package mirror's business. A mirror says how the class behaves; it does not say how the host
// provisions: parameters (which may name secrets, pools and servers) and mount options stay on the host.
package storageclass
