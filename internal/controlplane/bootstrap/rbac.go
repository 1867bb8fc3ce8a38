package bootstrap

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// ensureRBAC reconciles upstream's default policy. It reads with four lists instead of a get for each of about 150
// objects, and lets the group write. Upstream's moves of roles from before Kubernetes 1.10 are left out: no virtual
// cluster is that old.
func ensureRBAC(ctx context.Context, group *errgroup.Group, client kubernetes.Interface) error {
	existing, err := listRBAC(ctx, client)
	if err != nil {
		return err
	}
	ensureClusterRoles(group, client, existing)
	ensureClusterRoleBindings(group, client, existing)
	ensureRoles(group, client, existing)
	ensureRoleBindings(group, client, existing)
	return nil
}

func ensureClusterRoles(group *errgroup.Group, client kubernetes.Interface, existing *policy) {
	modifier := clusterRoles{reconciliation.ClusterRoleModifier{Client: client.RbacV1().ClusterRoles()}, existing}
	for _, role := range allClusterRoles() {
		reconcileRole(group, reconciliation.ClusterRoleRuleOwner{ClusterRole: &role}, modifier)
	}
}

func ensureClusterRoleBindings(group *errgroup.Group, client kubernetes.Interface, existing *policy) {
	modifier := clusterRoleBindings{
		reconciliation.ClusterRoleBindingClientAdapter{Client: client.RbacV1().ClusterRoleBindings()}, existing,
	}
	for _, binding := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		reconcileBinding(group, reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &binding}, modifier)
	}
}

func ensureRoles(group *errgroup.Group, client kubernetes.Interface, existing *policy) {
	modifier := roles{
		reconciliation.RoleModifier{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()}, existing,
	}
	for _, namespaced := range bootstrappolicy.NamespaceRoles() {
		for _, role := range namespaced {
			reconcileRole(group, reconciliation.RoleRuleOwner{Role: &role}, modifier)
		}
	}
}

func ensureRoleBindings(group *errgroup.Group, client kubernetes.Interface, existing *policy) {
	modifier := roleBindings{
		reconciliation.RoleBindingClientAdapter{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()}, existing,
	}
	for _, namespaced := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range namespaced {
			reconcileBinding(group, reconciliation.RoleBindingAdapter{RoleBinding: &binding}, modifier)
		}
	}
}

func reconcileRole(group *errgroup.Group, role reconciliation.RuleOwner, modifier reconciliation.RuleOwnerModifier) {
	group.Go(func() error {
		options := reconciliation.ReconcileRoleOptions{Role: role, Client: modifier, Confirm: true}
		if _, err := options.Run(); err != nil {
			return fmt.Errorf("reconcile role %q: %w", role.GetName(), err)
		}
		return nil
	})
}

func reconcileBinding(group *errgroup.Group, binding reconciliation.RoleBinding, modifier reconciliation.RoleBindingModifier) {
	group.Go(func() error {
		options := reconciliation.ReconcileRoleBindingOptions{RoleBinding: binding, Client: modifier, Confirm: true}
		if _, err := options.Run(); err != nil {
			return fmt.Errorf("reconcile role binding %q: %w", binding.GetName(), err)
		}
		return nil
	})
}

// listRBAC reads what is there.
func listRBAC(ctx context.Context, client kubernetes.Interface) (*policy, error) {
	clusterRoles, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list cluster roles: %w", err)
	}
	clusterRoleBindings, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list cluster role bindings: %w", err)
	}
	roles, err := client.RbacV1().Roles(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	roleBindings, err := client.RbacV1().RoleBindings(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list role bindings: %w", err)
	}
	return &policy{
		clusterRoles:        index(clusterRoles.Items, func(r *rbacv1.ClusterRole) metav1.Object { return r }),
		clusterRoleBindings: index(clusterRoleBindings.Items, func(r *rbacv1.ClusterRoleBinding) metav1.Object { return r }),
		roles:               index(roles.Items, func(r *rbacv1.Role) metav1.Object { return r }),
		roleBindings:        index(roleBindings.Items, func(r *rbacv1.RoleBinding) metav1.Object { return r }),
	}, nil
}
