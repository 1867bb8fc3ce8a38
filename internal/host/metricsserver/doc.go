// Package metricsserver runs the metrics server of an embedded host: upstream's program beside the node, as an aggregated API.
//
// It is a process of its own because its libraries are of other versions than those of the node. Invariants: it has an
// identity with no more rights than any metrics server has; every connection is TLS that is verified, to the kubelet and from
// the API server; the API is registered only while the program answers, since an aggregated API that does not answer keeps
// namespaces from being deleted; whatever happens to the program, the host goes on without.
package metricsserver
