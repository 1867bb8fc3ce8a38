// Package usage is the protocol between a tenant's control plane and the agent's metrics door: POST Path with a Request as
// JSON, answered with a Response or with a metav1.Status. Both sides import it; it holds nothing but types.
package usage

import metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

// Path of the only endpoint.
const Path = "/v1alpha1/podmetrics"

// MaxRequestBytes bounds a request and MaxBytes a response.
const (
	MaxRequestBytes = 64 << 10
	MaxBytes        = 16 << 20
	// MaxNamespaces bounds the namespaces of one request.
	MaxNamespaces = 200
)

// Request asks what the pods of some namespaces of the virtual cluster use.
type Request struct {
	// Namespaces of the virtual cluster; at least one.
	Namespaces []string `json:"namespaces"`
}

// Response is what the host has measured of those pods. Pods of which it has nothing yet are missing.
type Response struct {
	// Pods with the names and namespaces that they have in the virtual cluster, and no other metadata.
	Pods []metricsv1beta1.PodMetrics `json:"pods"`
}
