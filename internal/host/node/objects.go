package node

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	applydiscoveryv1 "k8s.io/client-go/applyconfigurations/discovery/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

// fieldManager of the objects that the host itself makes.
const fieldManager = "matryoshka-host"

// dnsServiceName is what everybody expects cluster DNS to be called.
const dnsServiceName = "kube-dns"

// dnsLabels are those that everybody expects at cluster DNS.
var dnsLabels = map[string]string{"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}

// ensureDNSService makes the Service of cluster DNS. It has no selector: the server is in this process.
func ensureDNSService(ctx context.Context, client kubernetes.Interface) error {
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	service := applycorev1.Service(dnsServiceName, metav1.NamespaceSystem).WithLabels(dnsLabels).WithSpec(
		applycorev1.ServiceSpec().WithClusterIP(network.DNSService.String()).WithPorts(
			applycorev1.ServicePort().WithName("dns").WithProtocol(corev1.ProtocolUDP).WithPort(53).WithTargetPort(intstr.FromInt32(network.DNSPort)),
			applycorev1.ServicePort().WithName("dns-tcp").WithProtocol(corev1.ProtocolTCP).WithPort(53).WithTargetPort(intstr.FromInt32(network.DNSPort)),
		))
	if _, err := client.CoreV1().Services(metav1.NamespaceSystem).Apply(ctx, service, options); err != nil {
		return fmt.Errorf("apply the Service of cluster DNS: %w", err)
	}
	slice := applydiscoveryv1.EndpointSlice(dnsServiceName, metav1.NamespaceSystem).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: dnsServiceName, discoveryv1.LabelManagedBy: fieldManager}).
		WithAddressType(discoveryv1.AddressTypeIPv4).
		WithPorts(
			applydiscoveryv1.EndpointPort().WithName("dns").WithProtocol(corev1.ProtocolUDP).WithPort(network.DNSPort),
			applydiscoveryv1.EndpointPort().WithName("dns-tcp").WithProtocol(corev1.ProtocolTCP).WithPort(network.DNSPort),
		).
		WithEndpoints(applydiscoveryv1.Endpoint().WithAddresses(network.DNSAddress.String()).
			WithConditions(applydiscoveryv1.EndpointConditions().WithReady(true)))
	if _, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem).Apply(ctx, slice, options); err != nil {
		return fmt.Errorf("apply the EndpointSlice of cluster DNS: %w", err)
	}
	return nil
}
