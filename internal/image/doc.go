// Package image builds the product's container images from files of this machine and writes them as an OCI archive
// that containerd, skopeo and Docker (25 or newer) read. It needs no registry and no container runtime.
//
// It is not for pulling, pushing or changing images. Its invariants: the same files give the same digest, on any
// machine and at any time (fixed times and owners, sorted entries, no compression); every image names a user that is
// not root by number, so that pods of the level "restricted" can run it.
package image
