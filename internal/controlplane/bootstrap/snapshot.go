package bootstrap

import (
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
)

// policy is the RBAC policy as it was listed. The modifiers below are upstream's, but answer Get from it; when it is
// stale, the write fails with a conflict and Ensure lists anew.
type policy struct {
	clusterRoles        map[types.NamespacedName]*rbacv1.ClusterRole
	clusterRoleBindings map[types.NamespacedName]*rbacv1.ClusterRoleBinding
	roles               map[types.NamespacedName]*rbacv1.Role
	roleBindings        map[types.NamespacedName]*rbacv1.RoleBinding
}

func index[T any](items []T, object func(*T) metav1.Object) map[types.NamespacedName]*T {
	indexed := make(map[types.NamespacedName]*T, len(items))
	for i := range items {
		o := object(&items[i])
		indexed[types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}] = &items[i]
	}
	return indexed
}

func lookup[T any](indexed map[types.NamespacedName]*T, resource, namespace, name string) (*T, error) {
	found, ok := indexed[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return nil, apierrors.NewNotFound(rbacv1.Resource(resource), name)
	}
	return found, nil
}

type clusterRoles struct {
	reconciliation.ClusterRoleModifier
	existing *policy
}

func (c clusterRoles) Get(_, name string) (reconciliation.RuleOwner, error) {
	found, err := lookup(c.existing.clusterRoles, "clusterroles", "", name)
	if err != nil {
		return nil, err
	}
	return reconciliation.ClusterRoleRuleOwner{ClusterRole: found}, nil
}

type clusterRoleBindings struct {
	reconciliation.ClusterRoleBindingClientAdapter
	existing *policy
}

func (c clusterRoleBindings) Get(_, name string) (reconciliation.RoleBinding, error) {
	found, err := lookup(c.existing.clusterRoleBindings, "clusterrolebindings", "", name)
	if err != nil {
		return nil, err
	}
	return reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: found}, nil
}

type roles struct {
	reconciliation.RoleModifier
	existing *policy
}

func (r roles) Get(namespace, name string) (reconciliation.RuleOwner, error) {
	found, err := lookup(r.existing.roles, "roles", namespace, name)
	if err != nil {
		return nil, err
	}
	return reconciliation.RoleRuleOwner{Role: found}, nil
}

type roleBindings struct {
	reconciliation.RoleBindingClientAdapter
	existing *policy
}

func (r roleBindings) Get(namespace, name string) (reconciliation.RoleBinding, error) {
	found, err := lookup(r.existing.roleBindings, "rolebindings", namespace, name)
	if err != nil {
		return nil, err
	}
	return reconciliation.RoleBindingAdapter{RoleBinding: found}, nil
}
