package virtualcluster

import (
	"context"
	"fmt"
	"log/slog"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// workers is how many virtual clusters are checked at a time. Each check is short and mostly waits; there are many, since
// a tenant can make the one that looks after it wait for seconds.
const workers = 32

// NewScheme knows the kinds that this package uses.
func NewScheme() (*runtime.Scheme, error) {
	known := runtime.NewScheme()
	if err := scheme.AddToScheme(known); err != nil {
		return nil, fmt.Errorf("register the kinds of Kubernetes: %w", err)
	}
	if err := clusterv1alpha1.AddToScheme(known); err != nil {
		return nil, fmt.Errorf("register VirtualCluster: %w", err)
	}
	return known, nil
}

// CacheOptions limits the manager's caches to what the agent itself has made. Secrets, ConfigMaps and RoleBindings
// are never watched.
func CacheOptions() (cache.Options, error) {
	control := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{mapping.LabelKind: mapping.KindControl})}
	ours, err := labels.NewRequirement(mapping.LabelUID, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, fmt.Errorf("make a label selector: %w", err)
	}
	return cache.Options{
		NewInformer:      rewatch.NewInformer,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.StatefulSet{}:         control,
			&corev1.Service{}:             control,
			&corev1.Pod{}:                 control,
			&networkingv1.NetworkPolicy{}: control,
			&corev1.Namespace{}:           {Label: labels.NewSelector().Add(*ours)},
		},
	}, nil
}

// NewHostClient returns a client that reads and writes directly; the manager's own reads from caches.
func NewHostClient(mgr ctrl.Manager) (client.Client, error) {
	return client.New(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
}

// SetupWithManager adds the controllers of this package to a manager whose scheme and caches are NewScheme's and
// CacheOptions'.
func SetupWithManager(mgr ctrl.Manager, options Options, log *slog.Logger) error {
	options.complete()
	if err := options.Validate(); err != nil {
		return err
	}
	host, err := NewHostClient(mgr)
	if err != nil {
		return fmt.Errorf("make a client of the host: %w", err)
	}
	connections := newConnections(&options)
	reconciler := &Reconciler{
		options: &options, log: log, host: host, cached: mgr.GetClient(),
		connections: connections, memory: newMemory(),
	}
	if err := reconciler.setup(mgr); err != nil {
		return fmt.Errorf("set up the lifecycle controller: %w", err)
	}
	registrar := &registrar{options: &options, host: host, cached: mgr.GetClient(), connections: connections}
	err = ctrl.NewControllerManagedBy(mgr).Named("registry").
		For(&clusterv1alpha1.VirtualCluster{}).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(byLabels)).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(byLabels), builder.WithPredicates(changedRules())).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()}).
		Complete(registrar)
	if err != nil {
		return fmt.Errorf("set up the registry of tenants: %w", err)
	}
	orphans := &orphanCollector{host: host, cached: mgr.GetClient(), shards: options.Shards, log: log}
	err = ctrl.NewControllerManagedBy(mgr).Named("orphans").
		For(&corev1.Namespace{}).
		WithOptions(controller.Options{RateLimiter: tenancy.BackOff()}).
		// The end of a VirtualCluster is the moment to look at its namespaces.
		Watches(&clusterv1alpha1.VirtualCluster{}, namespacesOf(mgr.GetClient()), builder.WithPredicates(onlyDeletions())).
		WatchesRawSource(orphans.gained()).
		Complete(orphans)
	if err != nil {
		return fmt.Errorf("set up the collector of orphaned namespaces: %w", err)
	}
	return nil
}

func (r *Reconciler) setup(mgr ctrl.Manager) error {
	owned := handler.EnqueueRequestsFromMapFunc(byLabels)
	made := ctrl.NewControllerManagedBy(mgr).Named("virtualcluster").
		For(&clusterv1alpha1.VirtualCluster{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, // activity and wishes to wake
		))).
		Watches(&appsv1.StatefulSet{}, owned, builder.WithPredicates(r.disturbances())).
		Watches(&corev1.Service{}, owned, builder.WithPredicates(r.disturbances())).
		Watches(&networkingv1.NetworkPolicy{}, owned, builder.WithPredicates(r.disturbances())).
		Watches(&corev1.Namespace{}, owned, builder.WithPredicates(r.disturbances())).
		Watches(&corev1.Pod{}, owned).
		WatchesRawSource(r.gained()).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()})
	if r.options.Places != nil {
		waiting := handler.EnqueueRequestsFromMapFunc(r.waitingForPlace)
		made = made.
			Watches(&coordinationv1.Lease{}, waiting, builder.WithPredicates(onlyDeletions())).
			Watches(&tenancyv1alpha1.Account{}, waiting, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.inNewSpace), builder.WithPredicates(noChanges()))
	}
	for _, trigger := range r.options.Triggers {
		made = made.WatchesRawSource(trigger)
	}
	return made.Complete(r)
}

// waitingForPlace finds the virtual clusters that may want a place that was given back, or that an account has more of now. They are
// few, and of which account each is it finds out itself.
func (r *Reconciler) waitingForPlace(ctx context.Context, _ client.Object) []reconcile.Request {
	var list clusterv1alpha1.VirtualClusterList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil // they look again by themselves after a while
	}
	var requests []reconcile.Request
	for index := range list.Items {
		vc := &list.Items[index]
		for _, condition := range vc.Status.Conditions {
			if condition.Reason == clusterv1alpha1.ReasonAccountLimitReached {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(vc)})
				break
			}
		}
	}
	return requests
}

// inNewSpace finds the virtual clusters that are in a namespace that has become a space: from now on they belong to its account.
func (r *Reconciler) inNewSpace(ctx context.Context, namespace client.Object) []reconcile.Request {
	if namespace.GetLabels()[mapping.LabelKind] != mapping.KindSpace {
		return nil
	}
	var list clusterv1alpha1.VirtualClusterList
	if err := r.cached.List(ctx, &list, client.InNamespace(namespace.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list the virtual clusters of a space", "space", namespace.GetName(), "error", err)
		return nil // the next resync finds them
	}
	var requests []reconcile.Request
	for index := range list.Items {
		r.memory.forget(list.Items[index].UID)
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[index])})
	}
	return requests
}

// noChanges lets through that something has come into the cache: it is new, or has a label now that it had not before.
func noChanges() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// byLabels finds the VirtualCluster that an object belongs to.
func byLabels(_ context.Context, object client.Object) []reconcile.Request {
	key := client.ObjectKey{Namespace: object.GetLabels()[mapping.LabelNamespace], Name: object.GetLabels()[mapping.LabelName]}
	if key.Namespace == "" || key.Name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// disturbances lets through what calls for applying everything again: a deletion, and a change that is not one of
// status alone. Our own changes come back as such too; the second application then changes nothing.
func (r *Reconciler) disturbances() predicate.Predicate {
	disturbed := func(object client.Object) bool {
		r.memory.forget(types.UID(object.GetLabels()[mapping.LabelUID]))
		return true
	}
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		DeleteFunc:  func(e event.DeleteEvent) bool { return disturbed(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			if e.ObjectNew.GetResourceVersion() == e.ObjectOld.GetResourceVersion() || isOnlyStatus(e.ObjectOld, e.ObjectNew) {
				return false
			}
			return disturbed(e.ObjectNew)
		},
	}
}

// isOnlyStatus tells whether nothing of the labels and the spec has changed. Kinds without a generation count as
// changed, but for a namespace's way through its phases, whose end is a deletion.
func isOnlyStatus(before, after client.Object) bool {
	if !labels.Equals(before.GetLabels(), after.GetLabels()) {
		return false
	}
	if namespace, ok := after.(*corev1.Namespace); ok {
		former, isNamespace := before.(*corev1.Namespace)
		return isNamespace && !rulesHaveChanged(former, namespace)
	}
	return after.GetGeneration() != 0 && before.GetGeneration() == after.GetGeneration()
}

// rulesHaveChanged tells whether a control namespace has other rules of its account than before.
func rulesHaveChanged(before, after *corev1.Namespace) bool {
	if after.Labels[mapping.LabelKind] != mapping.KindControl {
		return false
	}
	former, hadRules, formerErr := rules.Of(before)
	current, hasRules, err := rules.Of(after)
	return hadRules != hasRules || formerErr != nil || err != nil || !former.Equal(&current)
}

// changedRules lets through the moments at which the rules of a control namespace may be others than those in the registry.
func changedRules() predicate.Predicate {
	isControl := func(object client.Object) bool { return object.GetLabels()[mapping.LabelKind] == mapping.KindControl }
	return predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return isControl(e.Object) },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, wasNamespace := e.ObjectOld.(*corev1.Namespace)
			after, isNamespace := e.ObjectNew.(*corev1.Namespace)
			return wasNamespace && isNamespace && (rulesHaveChanged(before, after) || rules.AccountOf(before) != rules.AccountOf(after))
		},
	}
}

func namespacesOf(cached client.Reader) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		var namespaces corev1.NamespaceList
		if err := cached.List(ctx, &namespaces, client.MatchingLabels{mapping.LabelUID: string(object.GetUID())}); err != nil {
			return nil // the next resync of the namespaces finds them
		}
		var requests []reconcile.Request
		for _, namespace := range namespaces.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&namespace)})
		}
		return requests
	})
}

func onlyDeletions() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
