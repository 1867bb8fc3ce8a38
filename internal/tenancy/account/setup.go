package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// workers is how many accounts are worked on at a time.
const workers = 4

// Options are what the controller needs to know. All fields are required.
type Options struct {
	// SystemNamespace is the agent's, where the slots are.
	SystemNamespace string
	// Host reads and writes the API server itself.
	Host client.Client
	// Shards tell which accounts are this replica's.
	Shards shards.Shares
	Logger *slog.Logger
}

// SetupWithManager adds the controller to a manager whose scheme and caches have been through package tenancy.
func SetupWithManager(mgr ctrl.Manager, options Options) error {
	if options.SystemNamespace == "" || options.Host == nil || options.Shards == nil || options.Logger == nil {
		return errors.New("options of the controller of accounts are missing")
	}
	r := &Reconciler{host: options.Host, cached: mgr.GetClient(), shards: options.Shards, log: options.Logger, slots: map[slot.Kind]*slot.Slots{}}
	for _, kind := range []slot.Kind{slot.Spaces, slot.VirtualClusters, slot.RunningVirtualClusters} {
		r.slots[kind] = slot.New(options.Host, mgr.GetClient(), options.SystemNamespace, kind)
	}
	byLabel := handler.EnqueueRequestsFromMapFunc(ofLabelled)
	err := ctrl.NewControllerManagedBy(mgr).Named("account").
		For(&tenancyv1alpha1.Account{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, report.Changed(ownStatus)))).
		Watches(&tenancyv1alpha1.Space{}, handler.EnqueueRequestsFromMapFunc(ofSpace), builder.WithPredicates(noUpdates())).
		Watches(&tenancyv1alpha1.AccountQuota{}, handler.EnqueueRequestsFromMapFunc(ofQuota), builder.WithPredicates(noUpdates())).
		Watches(&rbacv1.ClusterRole{}, byLabel).
		Watches(&rbacv1.ClusterRoleBinding{}, byLabel).
		Watches(&coordinationv1.Lease{}, byLabel, builder.WithPredicates(noUpdates())).
		WatchesRawSource(tenancy.Gained(r.shards, r.gained)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the controller of accounts: %w", err)
	}
	return nil
}

// ownStatus is what this controller reports.
func ownStatus(account *tenancyv1alpha1.Account) any {
	said := report.Said(account.Status.Conditions, tenancyv1alpha1.ConditionReady, tenancyv1alpha1.ConditionWithinLimits, tenancyv1alpha1.ConditionInitialSpaces)
	return []any{account.Status.Spaces, account.Status.VirtualClusters, account.Status.RunningVirtualClusters, account.Status.InitialSpaces, said}
}

// noUpdates lets through that something is there or is gone.
func noUpdates() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

func named(name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

func ofLabelled(_ context.Context, object client.Object) []reconcile.Request {
	return named(object.GetLabels()[mapping.LabelAccount])
}

func ofSpace(_ context.Context, object client.Object) []reconcile.Request {
	space, ok := object.(*tenancyv1alpha1.Space)
	if !ok {
		return nil
	}
	return named(space.Spec.Account)
}

func ofQuota(_ context.Context, object client.Object) []reconcile.Request {
	quota, ok := object.(*tenancyv1alpha1.AccountQuota)
	if !ok {
		return nil
	}
	return named(quota.Spec.Account)
}

// gained finds the accounts that this replica gains.
func (r *Reconciler) gained(ctx context.Context, isGained func(types.UID) bool) []reconcile.Request {
	var list tenancyv1alpha1.AccountList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list the accounts that were gained", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for index := range list.Items {
		if account := &list.Items[index]; isGained(account.UID) {
			requests = append(requests, named(account.Name)...)
		}
	}
	return requests
}
