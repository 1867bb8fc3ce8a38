// Package pki makes the certificates of virtual clusters and of the doors, and says when they must be made anew.
//
// It is pure: it reads and writes no API. The lifecycle controller keeps what it makes in Secrets; the agent keeps
// its own certificates in memory. Its invariants:
//
//   - The keys of a tenant's serving, front proxy and kubelet CAs and of the door CA never leave the agent. A tenant
//     who owns its control plane owns its client CA and its ServiceAccount key, so these count for nothing at a door.
//   - A certificate serves one purpose: server or client, never both.
//   - A leaf certificate is replaced when two thirds of its life have passed, when it is not valid yet, when its names no longer
//     fit, or when its authority was replaced. Whatever is still good is kept byte for byte, so that asking again changes nothing.
//   - Time comes from the caller.
package pki
