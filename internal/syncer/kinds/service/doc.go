// Package service copies the Services of a tenant to the host and brings the status of their load balancers back.
//
// The host decides addresses: a Service's ClusterIP and node ports were reserved on the host by the address door, as
// an inert Service of the same name, before the tenant's API server stored the Service. This package takes that
// reservation over, or makes the host Service with the tenant's addresses where there is none (after a loss).
//
// Invariants: spec flows tenant → host, status flows host → tenant and never the other way; a host Service that does
// not belong to the tenant Service is never written; spec.externalIPs never reaches the host; default/kubernetes is
// not copied, since its host Service is the control plane's own.
package service
