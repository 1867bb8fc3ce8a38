package space

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// workers is how many spaces are worked on at a time.
const workers = 8

// Step is a part of a space's deletion, before its namespace is deleted. It is called again until it says that it is done;
// waitingFor is what it waits for, in words for the space's owner.
type Step func(ctx context.Context, space *tenancyv1alpha1.Space) (done bool, waitingFor string, err error)

// Options are what the controller needs to know. All fields are required unless they say otherwise.
type Options struct {
	// SystemNamespace is the agent's, where the slots are.
	SystemNamespace string
	// Host reads and writes the API server itself.
	Host client.Client
	// Shards tell which spaces are this replica's.
	Shards shards.Shares
	Logger *slog.Logger
	// InPlace brings a new namespace into the quotas of its account before anybody can use it. Nil means that there are none.
	InPlace func(ctx context.Context, namespace *corev1.Namespace) error
	// BeforeNamespace are done in this order when a space is deleted, after its virtual clusters are gone. Nil means nothing.
	BeforeNamespace []Step
}

// SetupWithManager adds the controller to a manager whose scheme and caches have been through package tenancy.
func SetupWithManager(mgr ctrl.Manager, options Options) error {
	if options.SystemNamespace == "" || options.Host == nil || options.Shards == nil || options.Logger == nil {
		return errors.New("options of the controller of spaces are missing")
	}
	r := &Reconciler{
		options: options, host: options.Host, cached: mgr.GetClient(), log: options.Logger,
		slots: slot.New(options.Host, mgr.GetClient(), options.SystemNamespace, slot.Spaces),
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("space").
		For(&tenancyv1alpha1.Space{}, builder.WithPredicates(predicate.Or(meaningful(), report.Changed(ownStatus)))).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(ofNamespace), builder.WithPredicates(noCreations())).
		Watches(&rbacv1.RoleBinding{}, handler.EnqueueRequestsFromMapFunc(ofBinding)).
		Watches(&clusterv1alpha1.VirtualCluster{}, handler.EnqueueRequestsFromMapFunc(ofVirtualCluster), builder.WithPredicates(onlyDeletions())).
		Watches(&tenancyv1alpha1.Account{}, handler.EnqueueRequestsFromMapFunc(r.ofAccount), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&coordinationv1.Lease{}, handler.EnqueueRequestsFromMapFunc(r.waitingFor), builder.WithPredicates(onlyDeletions())).
		WatchesRawSource(tenancy.Gained(options.Shards, r.gained)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the controller of spaces: %w", err)
	}
	return nil
}

// meaningful lets through what can change what is to be done: the spec, the deletion, the finalizers, and the word of those who
// apply templates.
func meaningful() predicate.Predicate {
	// The message goes into the condition Ready.
	templates := func(object client.Object) string {
		if space, ok := object.(*tenancyv1alpha1.Space); ok {
			if condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionTemplatesApplied); condition != nil {
				return string(condition.Status) + condition.Message
			}
		}
		return ""
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			len(e.ObjectOld.GetFinalizers()) != len(e.ObjectNew.GetFinalizers()) ||
			e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() ||
			templates(e.ObjectOld) != templates(e.ObjectNew)
	}}
}

// ownStatus is what this controller reports.
func ownStatus(space *tenancyv1alpha1.Space) any {
	return []any{space.Status.NamespaceUID, report.Said(space.Status.Conditions, tenancyv1alpha1.ConditionReady)}
}

func noCreations() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }}
}

func onlyDeletions() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func named(name string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

func ofNamespace(_ context.Context, namespace client.Object) []reconcile.Request {
	if namespace.GetLabels()[mapping.LabelKind] != mapping.KindSpace {
		return nil
	}
	return named(namespace.GetName())
}

func ofBinding(_ context.Context, binding client.Object) []reconcile.Request {
	if binding.GetName() != membersBinding {
		return nil
	}
	return named(binding.GetNamespace())
}

func ofVirtualCluster(_ context.Context, vc client.Object) []reconcile.Request {
	return named(vc.GetNamespace())
}

func (r *Reconciler) ofAccount(ctx context.Context, account client.Object) []reconcile.Request {
	return r.spacesOf(ctx, account.GetName())
}

// waitingFor finds the spaces that may want the slot that has just been given back: those that have none.
func (r *Reconciler) waitingFor(ctx context.Context, lease client.Object) []reconcile.Request {
	account := lease.GetLabels()[mapping.LabelAccount]
	if lease.GetLabels()[mapping.LabelSlot] != string(slot.Spaces) || account == "" {
		return nil
	}
	spaces, err := r.waiting(ctx, account, r.slots.Cached)
	if err != nil {
		return nil // they look again by themselves after a while
	}
	var requests []reconcile.Request
	for _, space := range spaces {
		requests = append(requests, named(space.Name)...)
	}
	return requests
}

func (r *Reconciler) spacesOf(ctx context.Context, account string) []reconcile.Request {
	var list tenancyv1alpha1.SpaceList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list the spaces of an account", "account", account, "error", err)
		return nil
	}
	var requests []reconcile.Request
	for index := range list.Items {
		if space := &list.Items[index]; space.Spec.Account == account {
			requests = append(requests, named(space.Name)...)
		}
	}
	return requests
}

// gained finds the spaces that this replica gains.
func (r *Reconciler) gained(ctx context.Context, isGained func(types.UID) bool) []reconcile.Request {
	var list tenancyv1alpha1.SpaceList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list the spaces that were gained", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for index := range list.Items {
		if space := &list.Items[index]; isGained(space.UID) {
			requests = append(requests, named(space.Name)...)
		}
	}
	return requests
}
