package space

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
)

// membersBinding is the RoleBinding by which the members of the account use a space. The policies know it by this name.
const membersBinding = "matryoshka-members"

// withdraw takes from people what they must not have any more in the space. It gives nothing to anybody.
func (r *Reconciler) withdraw(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) error {
	binding, err := r.binding(ctx, space)
	if err != nil || binding == nil {
		return err
	}
	if account != nil && binding.RoleRef.Name != account.Spec.Spaces.ClusterRole {
		return r.unbind(ctx, binding)
	}
	kept, isAll := grant.Keep(binding.Subjects, grant.Allowed(account))
	if isAll {
		return nil
	}
	if len(kept) == 0 {
		return r.unbind(ctx, binding)
	}
	grant.Mark(&binding.ObjectMeta, account.Name)
	binding.Subjects = kept
	err = grant.Behind(r.host.Update(ctx, binding, fieldManager))
	if apierrors.IsForbidden(err) || grant.IsBehind(err) {
		// To change a binding takes the right to make it, which may have been taken from the agent, and to remove it does not.
		return r.unbind(ctx, binding)
	}
	if err != nil {
		return fmt.Errorf("take subjects out of RoleBinding %q: %w", space.Name+"/"+membersBinding, err)
	}
	return nil
}

// binding is the one that the agent has made, or nil.
func (r *Reconciler) binding(ctx context.Context, space *tenancyv1alpha1.Space) (*rbacv1.RoleBinding, error) {
	var binding rbacv1.RoleBinding
	err := r.cached.Get(ctx, client.ObjectKey{Namespace: space.Name, Name: membersBinding}, &binding)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get RoleBinding %q: %w", space.Name+"/"+membersBinding, err)
	}
	return &binding, nil
}

func (r *Reconciler) unbind(ctx context.Context, binding *rbacv1.RoleBinding) error {
	preconditions := client.Preconditions{UID: &binding.UID, ResourceVersion: ptr.To(binding.ResourceVersion)}
	if err := client.IgnoreNotFound(r.host.Delete(ctx, binding, preconditions)); err != nil {
		return fmt.Errorf("delete RoleBinding %q: %w", binding.Namespace+"/"+binding.Name, err)
	}
	return nil
}

// give lets the members of the account use the space. A verdict says what stands against it. What they must not have was
// withdrawn before.
func (r *Reconciler) give(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) (*verdict, error) {
	binding, err := r.binding(ctx, space)
	if err != nil {
		return nil, err
	}
	allowed := grant.Allowed(account)
	switch {
	case binding == nil:
		return r.bind(ctx, space, account)
	case binding.RoleRef.Name != account.Spec.Spaces.ClusterRole:
		// It is being replaced; its end is an event.
		return &verdict{reason: reasonHostError, message: "The rights of the members are being replaced", after: soon}, nil
	case grant.IsSame(binding.Subjects, allowed):
		return nil, nil
	}
	grant.Mark(&binding.ObjectMeta, account.Name)
	binding.Subjects = allowed
	return r.outcome(ctx, account, r.host.Update(ctx, binding, fieldManager))
}

func (r *Reconciler) bind(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) (*verdict, error) {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: space.Name, Name: membersBinding},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account.Spec.Spaces.ClusterRole},
		Subjects:   grant.Allowed(account),
	}
	grant.Mark(&binding.ObjectMeta, account.Name)
	err := r.host.Create(ctx, binding, fieldManager)
	if !apierrors.IsAlreadyExists(err) {
		return r.outcome(ctx, account, err)
	}
	var present rbacv1.RoleBinding
	if err := r.host.Get(ctx, client.ObjectKeyFromObject(binding), &present); err != nil {
		return nil, fmt.Errorf("get RoleBinding %q: %w", space.Name+"/"+membersBinding, err)
	}
	if present.Labels[mapping.LabelAccount] == account.Name {
		// The watch is behind.
		return &verdict{reason: reasonHostError, message: "The rights of the members are being made", after: soon}, nil
	}
	return &verdict{
		reason: reasonNameTaken, after: later,
		message: fmt.Sprintf("The namespace has a RoleBinding %q that the agent did not make; delete it", membersBinding),
	}, nil
}

// outcome says what the answer to a binding means.
func (r *Reconciler) outcome(ctx context.Context, account *tenancyv1alpha1.Account, err error) (*verdict, error) {
	if apierrors.IsForbidden(err) {
		mayBind, reviewErr := r.mayBind(ctx, account.Spec.Spaces.ClusterRole)
		if reviewErr != nil {
			return nil, reviewErr
		}
		if !mayBind {
			return new(missingRole(account)), nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write RoleBinding %q: %w", membersBinding, grant.Behind(err))
	}
	return nil, nil
}

// mayBind asks whether the agent has been given the right to bind a ClusterRole. Policies forbid things as well.
func (r *Reconciler) mayBind(ctx context.Context, role string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "bind", Group: rbacv1.GroupName, Resource: "clusterroles", Name: role},
	}}
	if err := r.host.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether ClusterRole %q may be bound: %w", role, err)
	}
	return review.Status.Allowed, nil
}
