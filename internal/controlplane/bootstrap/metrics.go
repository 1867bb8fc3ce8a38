package bootstrap

import (
	"context"
	"errors"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"k8s.io/metrics/pkg/apis/metrics"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// metricsPriority is the one with which a metrics server registers itself: after all built-in groups, so that "pods" means
// the pods themselves.
const metricsPriority = 100

// allClusterRoles are upstream's, and the one that a metrics server brings: who may view a namespace may read what its pods
// use.
func allClusterRoles() []rbacv1.ClusterRole {
	roles := append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...)
	return append(roles, rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{
			Name: "system:aggregated-metrics-reader",
			Labels: map[string]string{
				"kubernetes.io/bootstrapping":                  "rbac-defaults",
				"rbac.authorization.k8s.io/aggregate-to-admin": "true",
				"rbac.authorization.k8s.io/aggregate-to-edit":  "true",
				"rbac.authorization.k8s.io/aggregate-to-view":  "true",
			},
			Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
		},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{metrics.GroupName}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list", "watch"},
		}},
	})
}

// EnsureMetricsAPI tells the aggregator that the API server itself serves metrics.k8s.io, and retries until the context ends.
// Upstream registers only groups that it knows. An APIService that is there stays: the tenant may run a metrics server.
func EnsureMetricsAPI(ctx context.Context, client apiregistrationclient.APIServiceInterface) error {
	service := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: metricsv1beta1.SchemeGroupVersion.Version + "." + metrics.GroupName},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: metrics.GroupName, Version: metricsv1beta1.SchemeGroupVersion.Version,
			GroupPriorityMinimum: metricsPriority, VersionPriority: metricsPriority,
		},
	}
	var last error
	err := wait.PollUntilContextCancel(ctx, retryInterval, true, func(ctx context.Context) (bool, error) {
		_, last = client.Create(ctx, service, metav1.CreateOptions{})
		return last == nil || apierrors.IsAlreadyExists(last), nil
	})
	if err != nil {
		return fmt.Errorf("create APIService %q: %w", service.Name, errors.Join(err, last))
	}
	return nil
}
