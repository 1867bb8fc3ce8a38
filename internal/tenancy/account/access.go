package account

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
)

// rolePrefix begins the names of the ClusterRole and the ClusterRoleBinding of an account. The policies repeat it.
const rolePrefix = "matryoshka-account-"

// VerbUse is what somebody needs on an account to make a space in it.
const VerbUse = "use"

// nameTakenError is when an object that the agent did not make stands where one of its own should.
type nameTakenError struct{ kind, name string }

func (e *nameTakenError) Error() string {
	return fmt.Sprintf("there is a %s %q already that the agent did not make; delete it", e.kind, e.name)
}

func roleName(account *tenancyv1alpha1.Account) string { return rolePrefix + account.Name }

func roleMeta(account *tenancyv1alpha1.Account) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Name: roleName(account)}
	grant.Mark(&meta, account.Name)
	return meta
}

// rules are what the subjects of an account may do with it and its spaces. Everything is named: to list would be to see what
// others have. A rule without names would be one for all of them, so there is none where there are no names.
func rules(account *tenancyv1alpha1.Account, spaces, quotas []string) []rbacv1.PolicyRule {
	groups := []string{tenancyv1alpha1.GroupVersion.Group}
	all := []rbacv1.PolicyRule{
		{APIGroups: groups, Resources: []string{"accounts"}, Verbs: []string{"get", VerbUse}, ResourceNames: []string{account.Name}},
		// RBAC cannot say in which account; a policy of the chart does.
		{APIGroups: groups, Resources: []string{"spaces"}, Verbs: []string{"create"}},
	}
	if len(spaces) > 0 {
		all = append(all, rbacv1.PolicyRule{
			APIGroups: groups, Resources: []string{"spaces"}, Verbs: []string{"get", "update", "patch", "delete"}, ResourceNames: spaces,
		})
	}
	if len(quotas) > 0 {
		all = append(all, rbacv1.PolicyRule{APIGroups: groups, Resources: []string{"accountquotas"}, Verbs: []string{"get"}, ResourceNames: quotas})
	}
	return all
}

func (r *Reconciler) quotas(ctx context.Context, account *tenancyv1alpha1.Account) ([]string, error) {
	var list tenancyv1alpha1.AccountQuotaList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the quotas of account %q: %w", account.Name, err)
	}
	var names []string
	for index := range list.Items {
		if list.Items[index].Spec.Account == account.Name {
			names = append(names, list.Items[index].Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r *Reconciler) ensureRole(ctx context.Context, account *tenancyv1alpha1.Account, spaces []string) error {
	quotas, err := r.quotas(ctx, account)
	if err != nil {
		return err
	}
	wanted := &rbacv1.ClusterRole{ObjectMeta: roleMeta(account), Rules: rules(account, spaces, quotas)}
	var present rbacv1.ClusterRole
	err = r.cached.Get(ctx, client.ObjectKeyFromObject(wanted), &present)
	if apierrors.IsNotFound(err) {
		return r.create(ctx, wanted, "ClusterRole", &rbacv1.ClusterRole{})
	}
	if err != nil {
		return fmt.Errorf("get ClusterRole %q: %w", wanted.Name, err)
	}
	if equality.Semantic.DeepEqual(present.Rules, wanted.Rules) && present.AggregationRule == nil {
		return nil
	}
	present.Rules, present.AggregationRule = wanted.Rules, nil
	if err := r.host.Update(ctx, &present, fieldManager); err != nil {
		return fmt.Errorf("update ClusterRole %q: %w", wanted.Name, err)
	}
	return nil
}

// create makes something. If it is there although the watch does not show it, the watch is behind, or it is somebody else's.
func (r *Reconciler) create(ctx context.Context, object client.Object, kind string, into client.Object) error {
	err := r.host.Create(ctx, object, fieldManager)
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s %q: %w", kind, object.GetName(), err)
	}
	if err := r.host.Get(ctx, client.ObjectKeyFromObject(object), into); err != nil {
		return fmt.Errorf("get %s %q: %w", kind, object.GetName(), err)
	}
	if into.GetLabels()[mapping.LabelAccount] == object.GetLabels()[mapping.LabelAccount] {
		return nil // the watch is behind, and tells soon
	}
	return &nameTakenError{kind: kind, name: object.GetName()}
}

// binding is the account's own, or nil.
func (r *Reconciler) binding(ctx context.Context, account *tenancyv1alpha1.Account) (*rbacv1.ClusterRoleBinding, error) {
	var binding rbacv1.ClusterRoleBinding
	err := r.cached.Get(ctx, client.ObjectKey{Name: roleName(account)}, &binding)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ClusterRoleBinding %q: %w", roleName(account), err)
	}
	return &binding, nil
}

// withdraw takes from people what they must not have any more. It gives nothing to anybody.
func (r *Reconciler) withdraw(ctx context.Context, account *tenancyv1alpha1.Account) error {
	binding, err := r.binding(ctx, account)
	if err != nil || binding == nil {
		return err
	}
	kept, isAll := grant.Keep(binding.Subjects, grant.Allowed(account))
	switch {
	case binding.RoleRef.Name != roleName(account) || (!isAll && len(kept) == 0):
		return r.unbind(ctx, binding)
	case isAll:
		return nil
	}
	grant.Mark(&binding.ObjectMeta, account.Name)
	binding.Subjects = kept
	err = grant.Behind(r.host.Update(ctx, binding, fieldManager))
	if apierrors.IsForbidden(err) || grant.IsBehind(err) {
		// To change a binding takes the rights that it gives, which may have been taken from the agent, and to remove it does not.
		return r.unbind(ctx, binding)
	}
	if err != nil {
		return fmt.Errorf("take subjects out of ClusterRoleBinding %q: %w", binding.Name, err)
	}
	return nil
}

func (r *Reconciler) unbind(ctx context.Context, binding *rbacv1.ClusterRoleBinding) error {
	preconditions := client.Preconditions{UID: &binding.UID, ResourceVersion: &binding.ResourceVersion}
	if err := client.IgnoreNotFound(r.host.Delete(ctx, binding, preconditions)); err != nil {
		return fmt.Errorf("delete ClusterRoleBinding %q: %w", binding.Name, err)
	}
	return nil
}

// give binds the subjects, after withdraw has taken away what is wrong.
func (r *Reconciler) give(ctx context.Context, account *tenancyv1alpha1.Account) error {
	allowed := grant.Allowed(account)
	binding, err := r.binding(ctx, account)
	if err != nil {
		return err
	}
	if binding == nil {
		if len(allowed) == 0 {
			return nil
		}
		return grant.Behind(r.create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: roleMeta(account),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: roleName(account)},
			Subjects:   allowed,
		}, "ClusterRoleBinding", &rbacv1.ClusterRoleBinding{}))
	}
	if binding.RoleRef.Name != roleName(account) || grant.IsSame(binding.Subjects, allowed) {
		return nil // what is being replaced comes back as an event
	}
	grant.Mark(&binding.ObjectMeta, account.Name)
	binding.Subjects = allowed
	if err := r.host.Update(ctx, binding, fieldManager); err != nil {
		return fmt.Errorf("update ClusterRoleBinding %q: %w", binding.Name, grant.Behind(err))
	}
	return nil
}
