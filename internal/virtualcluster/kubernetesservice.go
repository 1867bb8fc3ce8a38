package virtualcluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	discoveryv1apply "k8s.io/client-go/applyconfigurations/discovery/v1"
	"k8s.io/utils/net"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// keepKubernetesService keeps default/kubernetes of the tenant: its API server makes the Service once and never
// corrects it, and keeps no endpoints of itself, since it does not know its pod's address on the host.
func (r *Reconciler) keepKubernetesService(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, made *made, known *remembered) error {
	pods, err := r.controlPods(ctx, vc)
	if err != nil {
		return err
	}
	addresses := podAddresses(pods)
	state := made.connection.address + "=" + strings.Join(addresses, ",")
	now := r.options.Clock.Now()
	if state == known.endpoints && now.Before(known.endpointsAt.Add(resyncPeriod)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tenantCallTimeout)
	defer cancel()
	if err := dropStaleService(ctx, made.connection); err != nil {
		return err
	}
	if len(addresses) == 0 {
		return nil // the pod's address is not known here yet; its event brings us back
	}
	if err := applyEndpoints(ctx, made.connection, addresses); err != nil {
		return err
	}
	known.endpoints, known.endpointsAt = state, now
	return nil
}

// podAddresses are the addresses of the first family, sorted.
func podAddresses(pods []corev1.Pod) []string {
	var addresses []string
	for _, pod := range pods {
		if pod.Status.PodIP != "" {
			addresses = append(addresses, pod.Status.PodIP)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// dropStaleService deletes default/kubernetes when its address is not the host Service's any more. The API server
// makes it anew within seconds, with the right one.
func dropStaleService(ctx context.Context, connection *connection) error {
	services := connection.client.CoreV1().Services(metav1.NamespaceDefault)
	service, err := services.Get(ctx, serviceName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get Service default/kubernetes of the virtual cluster: %w", err)
	}
	if service.Spec.ClusterIP == connection.address {
		return nil
	}
	err = services.Delete(ctx, serviceName, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(service.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Service default/kubernetes with the old address %s: %w", service.Spec.ClusterIP, err)
	}
	return nil
}

// applyEndpoints writes the EndpointSlice, and the Endpoints that a few old clients read, as an API server that
// reconciles its own would.
func applyEndpoints(ctx context.Context, connection *connection, addresses []string) error {
	options := metav1.ApplyOptions{FieldManager: string(fieldManager), Force: true}
	family := discoveryv1.AddressTypeIPv4
	if net.IsIPv6String(addresses[0]) {
		family = discoveryv1.AddressTypeIPv6
	}
	slice := discoveryv1apply.EndpointSlice(serviceName, metav1.NamespaceDefault).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: serviceName}).
		WithAddressType(family).
		WithPorts(discoveryv1apply.EndpointPort().WithName(portName).WithPort(controlPlanePort).WithProtocol(corev1.ProtocolTCP))
	var subset []*corev1apply.EndpointAddressApplyConfiguration
	for _, address := range addresses {
		slice.WithEndpoints(discoveryv1apply.Endpoint().WithAddresses(address).
			WithConditions(discoveryv1apply.EndpointConditions().WithReady(true)))
		subset = append(subset, corev1apply.EndpointAddress().WithIP(address))
	}
	if _, err := connection.client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Apply(ctx, slice, options); err != nil {
		return fmt.Errorf("apply EndpointSlice default/kubernetes of the virtual cluster: %w", err)
	}
	endpoints := corev1apply.Endpoints(serviceName, metav1.NamespaceDefault).
		WithLabels(map[string]string{discoveryv1.LabelSkipMirror: "true"}).
		WithSubsets(corev1apply.EndpointSubset().WithAddresses(subset...).
			WithPorts(corev1apply.EndpointPort().WithName(portName).WithPort(controlPlanePort).WithProtocol(corev1.ProtocolTCP)))
	if _, err := connection.client.CoreV1().Endpoints(metav1.NamespaceDefault).Apply(ctx, endpoints, options); err != nil {
		return fmt.Errorf("apply Endpoints default/kubernetes of the virtual cluster: %w", err)
	}
	return nil
}
