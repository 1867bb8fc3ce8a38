package rulekeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
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
)

// workers is how many accounts are worked on at a time.
const workers = 4

// Options are what the controller needs to know. All fields are required.
type Options struct {
	// Host reads and writes the API server itself.
	Host client.Client
	// Shards tell which accounts are this replica's.
	Shards shards.Shares
	Logger *slog.Logger
}

// SetupWithManager adds the controller to a manager whose scheme and caches have been through package tenancy.
func SetupWithManager(mgr ctrl.Manager, options Options) error {
	if options.Host == nil || options.Shards == nil || options.Logger == nil {
		return errors.New("options of the keeper of rules are missing")
	}
	r := &Reconciler{host: options.Host, cached: mgr.GetClient(), shards: options.Shards, log: options.Logger}
	err := ctrl.NewControllerManagedBy(mgr).Named("rules").
		For(&tenancyv1alpha1.Account{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, report.Changed(ownStatus)))).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(ofNamespace), builder.WithPredicates(disturbed())).
		Watches(&schedulingv1.PriorityClass{}, handler.EnqueueRequestsFromMapFunc(r.everybody), builder.WithPredicates(isDefault())).
		WatchesRawSource(tenancy.Gained(options.Shards, r.accounts)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the keeper of rules: %w", err)
	}
	return nil
}

// ownStatus is what this controller reports.
func ownStatus(account *tenancyv1alpha1.Account) any {
	return report.Said(account.Status.Conditions, tenancyv1alpha1.ConditionRulesEnforced)
}

// disturbed lets through new namespaces and those whose labels or annotations have changed.
func disturbed() predicate.Predicate {
	return predicate.Funcs{
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !maps.Equal(e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()) ||
				!maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
		},
	}
}

// isDefault lets through what can change the host's default priority class.
func isDefault() predicate.Predicate {
	is := func(object client.Object) bool {
		class, ok := object.(*schedulingv1.PriorityClass)
		return ok && class.GlobalDefault
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return is(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return is(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return is(e.ObjectOld) != is(e.ObjectNew) },
	}
}

func named(name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

func ofNamespace(_ context.Context, namespace client.Object) []reconcile.Request {
	return named(namespace.GetLabels()[mapping.LabelAccount])
}

func (r *Reconciler) everybody(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.accounts(ctx, func(types.UID) bool { return true })
}

func (r *Reconciler) accounts(ctx context.Context, isMeant func(types.UID) bool) []reconcile.Request {
	var list tenancyv1alpha1.AccountList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list the accounts", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for index := range list.Items {
		if account := &list.Items[index]; isMeant(account.UID) {
			requests = append(requests, named(account.Name)...)
		}
	}
	return requests
}
