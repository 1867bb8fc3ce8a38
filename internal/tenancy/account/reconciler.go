package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// fieldManager owns what this controller writes on the host.
const fieldManager = client.FieldOwner("matryoshka-account")

// soon is when something is looked at again that others have changed at the same time.
const soon = 100 * time.Millisecond

// Reconciler is the controller of accounts.
type Reconciler struct {
	host   client.Client
	cached client.Reader
	shards shards.Shares
	slots  map[slot.Kind]*slot.Slots
	log    *slog.Logger
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// Reconcile brings one account a step closer to what its object says.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var account tenancyv1alpha1.Account
	if err := r.cached.Get(ctx, request.NamespacedName, &account); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	work, leave, ok := r.shards.Enter(ctx, account.UID)
	if !ok {
		return reconcile.Result{}, nil // another replica's; it comes again when this one gains it
	}
	defer leave()
	result, err := r.advance(work, &account)
	switch {
	case work.Err() != nil && ctx.Err() == nil:
		return reconcile.Result{}, nil // another replica's by now, which tries again
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return result, err
}

func (r *Reconciler) advance(ctx context.Context, account *tenancyv1alpha1.Account) (reconcile.Result, error) {
	if !account.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, account)
	}
	// Nothing may be made before the finalizer is stored.
	if err := finalizer.Add(ctx, r.host, account, tenancyv1alpha1.Finalizer, fieldManager); err != nil {
		return reconcile.Result{}, err
	}
	if err := r.deal(ctx, account); err != nil {
		return reconcile.Result{}, err
	}
	found, err := r.pursue(ctx, account)
	isReady := apimeta.IsStatusConditionTrue(account.Status.Conditions, tenancyv1alpha1.ConditionReady)
	if apierrors.IsConflict(err) || (grant.IsBehind(err) && isReady) {
		return reconcile.Result{}, err // it passes by itself: there is nothing to report
	}
	var taken *nameTakenError
	switch {
	case errors.As(err, &taken):
		// Its end is no event: what is not the agent's is not watched.
		found.failure, found.failureReason, found.after, err = taken.Error(), reasonNameTaken, later, nil
	case err != nil:
		found.failure, found.failureReason = rootMessage(err), reasonHostError
	}
	if statusErr := r.report(ctx, account, found); statusErr != nil {
		return reconcile.Result{}, statusErr
	}
	return reconcile.Result{RequeueAfter: found.after}, err
}

func (r *Reconciler) pursue(ctx context.Context, account *tenancyv1alpha1.Account) (findings, error) {
	found := findings{initial: account.Status.InitialSpaces}
	if err := r.withdraw(ctx, account); err != nil {
		return found, err
	}
	spaces, err := r.spaces(ctx, account)
	if err != nil {
		return found, err
	}
	if err := r.ensureRole(ctx, account, spaces); err != nil {
		return found, err
	}
	if err := r.give(ctx, account); err != nil {
		return found, err
	}
	if err := r.makeInitial(ctx, account, &found); err != nil {
		return found, err
	}
	for _, kind := range []slot.Kind{slot.VirtualClusters, slot.RunningVirtualClusters} {
		if err := r.slots[kind].Collect(ctx, account.Name, r.isVirtualClusterGone); err != nil {
			return found, err
		}
	}
	if err := r.slots[slot.Spaces].Collect(ctx, account.Name, r.isGone); err != nil {
		return found, err
	}
	err = r.count(ctx, account, &found)
	return found, err
}

// spaces are the names of the spaces of an account, in order, those included that are not made or about to go: whoever may have
// made one may see what becomes of it.
func (r *Reconciler) spaces(ctx context.Context, account *tenancyv1alpha1.Account) ([]string, error) {
	var list tenancyv1alpha1.SpaceList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the spaces of account %q: %w", account.Name, err)
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

// isGone asks the API server itself: a watch that is behind must not cost a space its slot.
func (r *Reconciler) isGone(ctx context.Context, holder slot.Holder) (bool, error) {
	var space tenancyv1alpha1.Space
	key := client.ObjectKey{Name: holder.Name}
	if err := r.cached.Get(ctx, key, &space); err == nil && space.UID == holder.UID {
		return false, nil
	}
	err := r.host.Get(ctx, key, &space)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get Space %q: %w", holder.Name, err)
	}
	return space.UID != holder.UID, nil
}

// isVirtualClusterGone finds those that went without giving their places back: somebody took the finalizer off by hand.
func (r *Reconciler) isVirtualClusterGone(ctx context.Context, holder slot.Holder) (bool, error) {
	var vc clusterv1alpha1.VirtualCluster
	key := client.ObjectKey{Namespace: holder.Namespace, Name: holder.Name}
	if err := r.cached.Get(ctx, key, &vc); err == nil && vc.UID == holder.UID {
		return false, nil
	}
	err := r.host.Get(ctx, key, &vc)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get VirtualCluster %q: %w", key, err)
	}
	return vc.UID != holder.UID, nil
}

func (r *Reconciler) count(ctx context.Context, account *tenancyv1alpha1.Account, found *findings) error {
	found.used = map[slot.Kind]int32{}
	for kind, slots := range r.slots {
		held, err := slots.Cached(ctx, account.Name)
		if err != nil {
			return err
		}
		found.used[kind] = int32(len(held))
	}
	return nil
}
