package service

import (
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// isReservation tells whether a host Service is an inert one that the address door made and nobody took over yet.
func isReservation(hostService *corev1.Service) bool {
	_, reserved := hostService.Annotations[mapping.AnnotationReservedUntil]
	return reserved
}

// reservedUntil is when a reservation may be collected. One that does not say so may be collected at once.
func reservedUntil(hostService *corev1.Service) time.Time {
	until, err := time.Parse(time.RFC3339, hostService.Annotations[mapping.AnnotationReservedUntil])
	if err != nil {
		return time.Time{}
	}
	return until
}

// hasOtherAddress tells whether a host Service has another ClusterIP than the tenant Service, so that it can only be
// replaced: a ClusterIP cannot be changed.
func hasOtherAddress(virtualService, hostService *corev1.Service) bool {
	want, have := hostSpec(virtualService).ClusterIP, hostService.Spec.ClusterIP
	return want != "" && have != "" && want != have
}

// mergeSpec is the desired spec with the addresses that the host allocated where the desired one leaves it the choice.
// Without them every look at the Service would seem to find a difference.
func mergeSpec(have, want corev1.ServiceSpec) corev1.ServiceSpec {
	merged := want
	if want.Type == corev1.ServiceTypeExternalName {
		return merged
	}
	if merged.ClusterIP == "" {
		merged.ClusterIP, merged.ClusterIPs = have.ClusterIP, have.ClusterIPs
	}
	if len(merged.ClusterIPs) == 0 && merged.ClusterIP == have.ClusterIP {
		merged.ClusterIPs = have.ClusterIPs
	}
	if len(merged.IPFamilies) == 0 {
		merged.IPFamilies = have.IPFamilies
	}
	if merged.IPFamilyPolicy == nil {
		merged.IPFamilyPolicy = have.IPFamilyPolicy
	}
	if merged.HealthCheckNodePort == 0 && needsHealthCheck(merged) && needsHealthCheck(have) {
		merged.HealthCheckNodePort = have.HealthCheckNodePort
	}
	if merged.Type != corev1.ServiceTypeClusterIP && allocatesNodePorts(merged) {
		keepNodePorts(merged.Ports, have.Ports)
	}
	return keepEmpty(have, merged)
}

func needsHealthCheck(spec corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeLoadBalancer && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func allocatesNodePorts(spec corev1.ServiceSpec) bool {
	return spec.AllocateLoadBalancerNodePorts == nil || *spec.AllocateLoadBalancerNodePorts
}

func keepNodePorts(want, have []corev1.ServicePort) {
	type portKey struct {
		protocol corev1.Protocol
		port     int32
	}
	allocated := map[portKey]int32{}
	for _, port := range have {
		allocated[portKey{port.Protocol, port.Port}] = port.NodePort
	}
	for i := range want {
		if want[i].NodePort == 0 {
			want[i].NodePort = allocated[portKey{want[i].Protocol, want[i].Port}]
		}
	}
}

// keepEmpty returns the old spec if the new one means the same, so that nil and empty lists do not count as a change.
func keepEmpty(have, merged corev1.ServiceSpec) corev1.ServiceSpec {
	if equality.Semantic.DeepEqual(have, merged) {
		return have
	}
	return merged
}

// takenFields are the address fields that the host refused because it cannot give them. None means that the error is
// something else. A Service that was stored in the tenant had these addresses from the host, so their form is right.
func takenFields(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return nil
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		isAddress := strings.HasPrefix(cause.Field, "spec.clusterIP") || cause.Field == "spec.healthCheckNodePort" ||
			strings.HasPrefix(cause.Field, "spec.ports[") && strings.HasSuffix(cause.Field, "].nodePort")
		if !isAddress {
			return nil
		}
		fields = append(fields, cause.Field)
	}
	return fields
}
