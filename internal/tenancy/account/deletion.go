package account

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// deletionPoll is the fallback for the event that a space is gone.
const deletionPoll = 2 * time.Second

// finalize takes an account down: first the access, then its spaces, each in its own order, then the rest.
func (r *Reconciler) finalize(ctx context.Context, account *tenancyv1alpha1.Account) (reconcile.Result, error) {
	if !slices.Contains(account.Finalizers, tenancyv1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	remaining, err := r.takeDown(ctx, account)
	if err == nil && len(remaining) == 0 {
		return reconcile.Result{}, finalizer.Remove(ctx, r.host, account, tenancyv1alpha1.Finalizer, fieldManager)
	}
	if apierrors.IsConflict(err) {
		return reconcile.Result{}, err
	}
	found := findings{
		initial: account.Status.InitialSpaces, failureReason: reasonTerminating,
		failure: "Waiting for the end of the spaces " + strings.Join(remaining, ", "),
	}
	if err != nil {
		found.failure = rootMessage(err)
	}
	if statusErr := r.report(ctx, account, found); statusErr != nil {
		return reconcile.Result{}, statusErr
	}
	return reconcile.Result{RequeueAfter: deletionPoll}, err
}

func (r *Reconciler) takeDown(ctx context.Context, account *tenancyv1alpha1.Account) (remaining []string, err error) {
	if err := r.withdraw(ctx, account); err != nil {
		return nil, err
	}
	if remaining, err = r.deleteSpaces(ctx, account); err != nil || len(remaining) > 0 {
		return remaining, err
	}
	if err := r.deleteAccess(ctx, account); err != nil {
		return nil, err
	}
	// What is left of slots belongs to nothing any more: all that the account had was in its spaces.
	for _, slots := range r.slots {
		if err := slots.Collect(ctx, account.Name, func(context.Context, slot.Holder) (bool, error) { return true, nil }); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// deleteSpaces asks the API server itself, so that no space is left over that the watch does not show yet.
func (r *Reconciler) deleteSpaces(ctx context.Context, account *tenancyv1alpha1.Account) (remaining []string, err error) {
	var list tenancyv1alpha1.SpaceList
	if err := r.host.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list the spaces of account %q: %w", account.Name, err)
	}
	for index := range list.Items {
		space := &list.Items[index]
		if space.Spec.Account != account.Name {
			continue
		}
		remaining = append(remaining, space.Name)
		if !space.DeletionTimestamp.IsZero() {
			continue
		}
		err := r.host.Delete(ctx, space, client.Preconditions{UID: &space.UID})
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("delete Space %q: %w", space.Name, err)
		}
	}
	slices.Sort(remaining)
	return remaining, nil
}

// deleteAccess deletes what the agent has made, as the watch shows it: what is not labelled is not the agent's.
func (r *Reconciler) deleteAccess(ctx context.Context, account *tenancyv1alpha1.Account) error {
	for _, object := range []client.Object{&rbacv1.ClusterRoleBinding{}, &rbacv1.ClusterRole{}} {
		err := r.cached.Get(ctx, client.ObjectKey{Name: roleName(account)}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get %T %q: %w", object, roleName(account), err)
		}
		uid := object.GetUID()
		if err := client.IgnoreNotFound(r.host.Delete(ctx, object, client.Preconditions{UID: &uid})); err != nil {
			return fmt.Errorf("delete %T %q: %w", object, roleName(account), err)
		}
	}
	return nil
}
