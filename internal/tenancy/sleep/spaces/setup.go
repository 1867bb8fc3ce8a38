package spaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
)

// workers is how many spaces are worked on at a time.
const workers = 4

// Options are what the controller needs to know. All fields are required unless they say otherwise.
type Options struct {
	// Host reads and writes the API server itself.
	Host client.Client
	// Shards tell which spaces are this replica's.
	Shards shards.Shares
	Logger *slog.Logger
	// Clock is for tests. Nil means the real one.
	Clock clock.PassiveClock
}

// SetupWithManager adds the controller to a manager whose scheme and caches have been through package tenancy.
func SetupWithManager(mgr ctrl.Manager, options Options) error {
	if options.Host == nil || options.Shards == nil || options.Logger == nil {
		return errors.New("options of the controller of sleeping spaces are missing")
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	r := &Reconciler{options: options, host: options.Host, cached: mgr.GetClient(), log: options.Logger, clock: options.Clock, seen: newSeen()}
	watched, err := workloadCache(mgr)
	if err != nil {
		return err
	}
	made := ctrl.NewControllerManagedBy(mgr).Named("sleep").
		For(&tenancyv1alpha1.Space{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, madeNamespace(), report.Changed(ownStatus),
		))).
		Watches(&tenancyv1alpha1.Account{}, handler.EnqueueRequestsFromMapFunc(r.ofAccount), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&clusterv1alpha1.VirtualCluster{}, handler.EnqueueRequestsFromMapFunc(inNamespace), builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		WatchesRawSource(tenancy.Gained(options.Shards, r.gained)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()})
	for _, kind := range []schema.GroupVersionKind{
		appsv1.SchemeGroupVersion.WithKind("Deployment"), appsv1.SchemeGroupVersion.WithKind("StatefulSet"), batchv1.SchemeGroupVersion.WithKind("CronJob"),
	} {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(kind)
		made = made.WatchesRawSource(source.Kind[client.Object](watched, object, r.touches()))
	}
	if err := made.Complete(r); err != nil {
		return fmt.Errorf("set up the controller of sleeping spaces: %w", err)
	}
	return nil
}

// annotationPeople says, in the cache only, that somebody else than this package or an autoscaler was the last to write an object.
const annotationPeople = "sleep.matryoshka.dev/people"

// workloadCache holds next to nothing of workloads: that they have changed, and who did it.
func workloadCache(mgr ctrl.Manager) (cache.Cache, error) {
	watched, err := cache.New(mgr.GetConfig(), cache.Options{
		NewInformer: rewatch.NewInformer, DefaultTransform: leastOf,
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of workloads: %w", err)
	}
	if err := mgr.Add(watched); err != nil {
		return nil, fmt.Errorf("add the cache of workloads: %w", err)
	}
	return watched, nil
}

func leastOf(object any) (any, error) {
	full, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	least := &metav1.PartialObjectMetadata{TypeMeta: full.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: full.Namespace, Name: full.Name, UID: full.UID, ResourceVersion: full.ResourceVersion, Generation: full.Generation,
	}}
	if isByPeople(full.ManagedFields) {
		least.Annotations = map[string]string{annotationPeople: yes}
	}
	return least, nil
}

// isByPeople tells whether the last who wrote an object are people or their programs. Times are whole seconds; in doubt it is people.
// Kubernetes' own controllers change the spec of a workload by its scale only, as an autoscaler.
func isByPeople(entries []metav1.ManagedFieldsEntry) bool {
	var people, ours time.Time
	for _, entry := range entries {
		isController := entry.Manager == controllerManager
		switch {
		case entry.Time == nil, entry.Subresource == "status", isController && entry.Subresource != "scale":
		case isController || entry.Manager == string(fieldManager):
			ours = later(ours, entry.Time.Time)
		default:
			people = later(people, entry.Time.Time)
		}
	}
	return !people.Before(ours)
}

// controllerManager writes as this field manager.
const controllerManager = "kube-controller-manager"

// touches makes activity of what people do to workloads: not what the agent does, nor an autoscaler.
func (r *Reconciler) touches() handler.EventHandler {
	touch := func(object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if object.GetAnnotations()[annotationPeople] != yes {
			return
		}
		r.seen.touch(object.GetNamespace(), r.clock.Now())
		queue.Add(named(object.GetNamespace()))
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if !e.IsInInitialList {
				touch(e.Object, queue)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() {
				touch(e.ObjectNew, queue)
			}
		},
	}
}

// ownStatus is what this controller reports, without its times.
func ownStatus(space *tenancyv1alpha1.Space) any {
	said := report.Said(space.Status.Conditions, tenancyv1alpha1.ConditionAsleep, tenancyv1alpha1.ConditionDeletionDue)
	return []any{space.Status.Sleep.Phase, space.Status.Sleep.Epoch, said}
}

func madeNamespace() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*tenancyv1alpha1.Space)
		after, isSpace := e.ObjectNew.(*tenancyv1alpha1.Space)
		return ok && isSpace && before.Status.NamespaceUID != after.Status.NamespaceUID
	}}
}

func named(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

func inNamespace(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{named(object.GetNamespace())}
}

func (r *Reconciler) ofAccount(ctx context.Context, account client.Object) []reconcile.Request {
	return r.spacesWhere(ctx, func(space *tenancyv1alpha1.Space) bool { return space.Spec.Account == account.GetName() })
}

func (r *Reconciler) spacesWhere(ctx context.Context, isMeant func(*tenancyv1alpha1.Space) bool) []reconcile.Request {
	var list tenancyv1alpha1.SpaceList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list spaces", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for index := range list.Items {
		if space := &list.Items[index]; isMeant(space) {
			requests = append(requests, named(space.Name))
		}
	}
	return requests
}

// gained finds the spaces that this replica gains.
func (r *Reconciler) gained(ctx context.Context, isGained func(types.UID) bool) []reconcile.Request {
	return r.spacesWhere(ctx, func(space *tenancyv1alpha1.Space) bool { return isGained(space.UID) })
}
