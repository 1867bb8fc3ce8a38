package template

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// binding gives an identity its rights in a space. The policies know both bindings by their names.
func (r *Reconciler) binding(instance *tenancyv1alpha1.TemplateInstance, account *tenancyv1alpha1.Account) *rbacv1.RoleBinding {
	name, role, namespace := InstanceIdentity, account.Spec.Spaces.ClusterRole, instance.Namespace
	if instance.Spec.SpaceTemplate != "" {
		name, role, namespace = SpaceIdentity, SpaceIdentity, r.options.SystemNamespace
	}
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: instance.Namespace, Name: name, Labels: map[string]string{mapping.LabelAccount: account.Name},
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}
}

// identity is who applies an instance.
func (r *Reconciler) identity(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance) context.Context {
	if instance.Spec.SpaceTemplate != "" {
		return as(ctx, r.options.SystemNamespace, SpaceIdentity)
	}
	return as(ctx, instance.Namespace, InstanceIdentity)
}

// newRights is how long it may take at most until the host acts by a new binding.
const newRights = 10 * time.Second

// ensureRights binds the instance's identity in its space, to the role that the account has now.
func (r *Reconciler) ensureRights(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance, account *tenancyv1alpha1.Account) (areNew bool, err error) {
	wanted := r.binding(instance, account)
	var present rbacv1.RoleBinding
	err = r.cached.Get(ctx, client.ObjectKeyFromObject(wanted), &present)
	if err == nil && isBinding(&present, wanted) {
		return time.Since(present.CreationTimestamp.Time) < newRights, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get RoleBinding %q: %w", wanted.Name, err)
	}
	return true, r.bind(ctx, instance, wanted, err == nil)
}

// bind makes a binding, in the place of another one where there is one: it keeps its role for ever.
func (r *Reconciler) bind(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance, wanted *rbacv1.RoleBinding, exists bool) error {
	if exists {
		if err := client.IgnoreNotFound(r.host.Delete(ctx, wanted.DeepCopy())); err != nil {
			return fmt.Errorf("delete RoleBinding %q: %w", wanted.Name, err)
		}
	}
	if err := r.checkIdentity(ctx, instance.Namespace, wanted.Subjects[0].Namespace); err != nil {
		return err
	}
	err := r.host.Create(ctx, wanted, fieldManager)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.checkTaken(ctx, wanted)
	case apierrors.IsForbidden(err):
		return problem(tenancyv1alpha1.ReasonApplyFailed,
			"the agent may not bind the ClusterRole %q for templates; an admin of the host cluster grants it with the chart's value spaces.clusterRoles", wanted.RoleRef.Name)
	case err != nil:
		return fmt.Errorf("create RoleBinding %q: %w", wanted.Name, err)
	}
	return nil
}

func isBinding(present, wanted *rbacv1.RoleBinding) bool {
	return present.RoleRef == wanted.RoleRef && len(present.Subjects) == 1 && present.Subjects[0] == wanted.Subjects[0]
}

// checkTaken tells a binding that the watch has not shown yet from one that somebody else has made.
func (r *Reconciler) checkTaken(ctx context.Context, wanted *rbacv1.RoleBinding) error {
	var present rbacv1.RoleBinding
	if err := r.host.Get(ctx, client.ObjectKeyFromObject(wanted), &present); err != nil {
		return fmt.Errorf("get RoleBinding %q: %w", wanted.Name, err)
	}
	if isBinding(&present, wanted) {
		return nil
	}
	return problem(tenancyv1alpha1.ReasonIdentityTaken, "the space has a RoleBinding %q that the agent did not make; delete it", wanted.Name)
}

// checkIdentity refuses a space in which a service account of the name was made before the name was kept free, as in a namespace that
// was adopted: whoever has its token would get the rights of the templates.
func (r *Reconciler) checkIdentity(ctx context.Context, namespace, identityNamespace string) error {
	if namespace != identityNamespace {
		return nil
	}
	var present corev1.ServiceAccount
	err := r.host.Get(ctx, client.ObjectKey{Namespace: namespace, Name: InstanceIdentity}, &present)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for ServiceAccount %q: %w", InstanceIdentity, err)
	}
	return problem(tenancyv1alpha1.ReasonIdentityTaken, "the space has a ServiceAccount %q, whose tokens would get the rights of templates; delete it", InstanceIdentity)
}
