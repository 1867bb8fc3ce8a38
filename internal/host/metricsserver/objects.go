package metricsserver

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	applydiscoveryv1 "k8s.io/client-go/applyconfigurations/discovery/v1"
	applyrbacv1 "k8s.io/client-go/applyconfigurations/rbac/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

const (
	fieldManager = "matryoshka-host"
	serviceName  = "metrics-server"
	servicePort  = 443
	portName     = "https"

	// The names that every metrics server's manifests use.
	group, version = "metrics.k8s.io", "v1beta1"
	apiServiceName = version + "." + group
)

var force = metav1.ApplyOptions{FieldManager: fieldManager, Force: true}

func (r *runner) ensureObjects(ctx context.Context) error {
	if err := r.ensureRights(ctx); err != nil {
		return err
	}
	return r.ensureService(ctx)
}

// ensureRights makes the roles that upstream's manifests have, for the identity of the program and for those who ask it.
func (r *runner) ensureRights(ctx context.Context) error {
	roles := r.client.RbacV1().ClusterRoles()
	for _, role := range []*applyrbacv1.ClusterRoleApplyConfiguration{
		applyrbacv1.ClusterRole("system:metrics-server").WithRules(
			applyrbacv1.PolicyRule().WithAPIGroups("").WithResources("nodes/metrics").WithVerbs("get"),
			applyrbacv1.PolicyRule().WithAPIGroups("").WithResources("pods", "nodes").WithVerbs("get", "list", "watch"),
		),
		applyrbacv1.ClusterRole("system:aggregated-metrics-reader").WithLabels(map[string]string{
			"rbac.authorization.k8s.io/aggregate-to-view":  "true",
			"rbac.authorization.k8s.io/aggregate-to-edit":  "true",
			"rbac.authorization.k8s.io/aggregate-to-admin": "true",
		}).WithRules(applyrbacv1.PolicyRule().WithAPIGroups(group).WithResources("pods", "nodes").WithVerbs("get", "list", "watch")),
	} {
		if _, err := roles.Apply(ctx, role, force); err != nil {
			return fmt.Errorf("apply ClusterRole %q: %w", *role.Name, err)
		}
	}
	program := applyrbacv1.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(pki.MetricsServerUser)
	for name, role := range map[string]string{
		"system:metrics-server": "system:metrics-server",
		// It asks the API server who its callers are and what they may.
		"metrics-server:system:auth-delegator": "system:auth-delegator",
	} {
		binding := applyrbacv1.ClusterRoleBinding(name).WithSubjects(program).
			WithRoleRef(applyrbacv1.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(role))
		if _, err := r.client.RbacV1().ClusterRoleBindings().Apply(ctx, binding, force); err != nil {
			return fmt.Errorf("apply ClusterRoleBinding %q: %w", name, err)
		}
	}
	binding := applyrbacv1.RoleBinding("metrics-server-auth-reader", metav1.NamespaceSystem).WithSubjects(program).
		WithRoleRef(applyrbacv1.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName("extension-apiserver-authentication-reader"))
	if _, err := r.client.RbacV1().RoleBindings(metav1.NamespaceSystem).Apply(ctx, binding, force); err != nil {
		return fmt.Errorf("apply RoleBinding %q: %w", *binding.Name, err)
	}
	return nil
}

// ensureService makes a Service without a selector: the program is no pod.
func (r *runner) ensureService(ctx context.Context) error {
	service := applycorev1.Service(serviceName, metav1.NamespaceSystem).WithSpec(applycorev1.ServiceSpec().WithPorts(
		applycorev1.ServicePort().WithName(portName).WithProtocol(corev1.ProtocolTCP).WithPort(servicePort).WithTargetPort(intstr.FromInt32(network.MetricsPort))))
	if _, err := r.client.CoreV1().Services(metav1.NamespaceSystem).Apply(ctx, service, force); err != nil {
		return fmt.Errorf("apply the Service of the metrics server: %w", err)
	}
	slice := applydiscoveryv1.EndpointSlice(serviceName, metav1.NamespaceSystem).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: serviceName, discoveryv1.LabelManagedBy: fieldManager}).
		WithAddressType(discoveryv1.AddressTypeIPv4).
		WithPorts(applydiscoveryv1.EndpointPort().WithName(portName).WithProtocol(corev1.ProtocolTCP).WithPort(network.MetricsPort)).
		WithEndpoints(applydiscoveryv1.Endpoint().WithAddresses(network.NodeAddress.String()).
			WithConditions(applydiscoveryv1.EndpointConditions().WithReady(true)))
	if _, err := r.client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem).Apply(ctx, slice, force); err != nil {
		return fmt.Errorf("apply the EndpointSlice of the metrics server: %w", err)
	}
	return nil
}

// register tells the aggregator. Somebody else's metrics server stays.
func (r *runner) register(ctx context.Context) error {
	port := int32(servicePort)
	service := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: apiServiceName, Labels: map[string]string{discoveryv1.LabelManagedBy: fieldManager}},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: group, Version: version, GroupPriorityMinimum: 100, VersionPriority: 100, CABundle: r.authority,
			Service: &apiregistrationv1.ServiceReference{Namespace: metav1.NamespaceSystem, Name: serviceName, Port: &port},
		},
	}
	_, err := r.apiServices.ApiregistrationV1().APIServices().Create(ctx, service, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("register the metrics API: %w", err)
	}
	return nil
}

// unregister takes back what register has made, and nothing else.
func (r *runner) unregister(ctx context.Context) error {
	services := r.apiServices.ApiregistrationV1().APIServices()
	service, err := services.Get(ctx, apiServiceName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && service.Labels[discoveryv1.LabelManagedBy] != fieldManager {
		return nil
	}
	if err == nil {
		err = services.Delete(ctx, apiServiceName, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(service.UID))})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the registration of the metrics API: %w", err)
	}
	return nil
}
