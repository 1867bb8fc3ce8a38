// Package reservation is the protocol of the address door: what a tenant's control plane asks and what it is told.
//
// It is apart from the door so that the control plane, which calls it, shares the types and nothing else with the agent.
package reservation

import corev1 "k8s.io/api/core/v1"

// Path is the door's one URL path; requests are POSTs of a JSON Request and answered by a JSON Response, or by a
// metav1.Status with the matching HTTP status code.
const Path = "/v1alpha1/reserve"

// MaxBytes bounds a request and a response.
const MaxBytes = 1 << 20

// Request asks the host for the addresses of one tenant Service. The asking virtual cluster is known from its
// client certificate, never from the request.
type Request struct {
	// Service as the tenant is about to store it; namespace and name are set (a generated name is already chosen). The
	// UID is that of the stored Service that is updated, and empty for a new one; a new one whose name is stored already
	// is answered with AlreadyExists.
	Service corev1.Service `json:"service"`
	// DryRun asks without reserving.
	DryRun bool `json:"dryRun,omitempty"`
}

// Response carries the addresses that the host allocated.
type Response struct {
	// Spec holds only: clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy, ports (in the order asked, with nodePort)
	// and healthCheckNodePort. Asking twice for the same Service gives the same answer.
	Spec corev1.ServiceSpec `json:"spec"`
}
