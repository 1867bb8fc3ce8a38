// Package metricsapi serves metrics.k8s.io in a tenant: what its pods and nodes use, read-only, for `kubectl top` and for
// autoscaling.
//
// The numbers are the host's, by way of the agent; nothing is measured or kept here. The API is compiled in and not an
// aggregated one, so that discovery knows it always and at once, whether the host measures or not. Invariants: pods are the
// tenant's own, selected by the labels that they have here; a node uses what the tenant's pods on it use, and never what the
// host's node uses altogether.
package metricsapi
