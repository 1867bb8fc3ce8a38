package service

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionAddressAvailable is a condition of a tenant Service; false means that the host could not give the Service
// the addresses that it has in the tenant. It is absent as long as there was no trouble.
const ConditionAddressAvailable = "matryoshka.dev/AddressAvailable"

// Reasons of ConditionAddressAvailable.
const (
	reasonAddressTaken    = "AddressTaken"
	reasonAddressRestored = "AddressRestored"
)

// virtualStatus is the status that the tenant Service should have: what the host says, and the tenant's own
// conditions of types that the host does not know.
func virtualStatus(virtualService, hostService *corev1.Service) corev1.ServiceStatus {
	status := *virtualService.Status.DeepCopy()
	status.LoadBalancer = *hostService.Status.LoadBalancer.DeepCopy()
	if serviceType(virtualService.Spec) != corev1.ServiceTypeLoadBalancer {
		// The host has not yet seen that this is no load balancer any more; the API refuses the old status here.
		status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
	for _, hostCondition := range hostService.Status.Conditions {
		condition := *hostCondition.DeepCopy()
		condition.ObservedGeneration = 0 // a generation of the host's object means nothing in the tenant
		status.Conditions = setCondition(status.Conditions, condition)
	}
	if taken := meta.FindStatusCondition(status.Conditions, ConditionAddressAvailable); taken != nil && taken.Status == metav1.ConditionFalse {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: ConditionAddressAvailable, Status: metav1.ConditionTrue, Reason: reasonAddressRestored,
			Message: "The host has given the Service its addresses again.",
		})
	}
	return status
}

// addressTakenStatus is the status of a tenant Service whose addresses the host has given to somebody else.
func addressTakenStatus(virtualService *corev1.Service, message string) corev1.ServiceStatus {
	status := *virtualService.Status.DeepCopy()
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: ConditionAddressAvailable, Status: metav1.ConditionFalse, Reason: reasonAddressTaken, Message: message,
	})
	return status
}

// setCondition keeps the transition time that the host wrote, unlike meta.SetStatusCondition, so that a second copy
// changes nothing.
func setCondition(conditions []metav1.Condition, condition metav1.Condition) []metav1.Condition {
	for i := range conditions {
		if conditions[i].Type == condition.Type {
			conditions[i] = condition
			return conditions
		}
	}
	return append(slices.Clip(conditions), condition)
}
