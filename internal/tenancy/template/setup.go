package template

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/chart"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/render"
)

const (
	// workers is how many instances, and how many spaces, are worked on at a time.
	workers = 4
	// defaultInterval is how often an instance is looked at when nothing is said to have changed.
	defaultInterval = 5 * time.Minute
)

// Options are what the controllers need to know. All fields are required unless they say otherwise.
type Options struct {
	// SystemNamespace is the agent's.
	SystemNamespace string
	// Config reaches the host as the agent, which impersonates the identities of templates.
	Config *rest.Config
	// Host reads and writes the API server itself, as the agent.
	Host client.Client
	// Shards tell which spaces and instances are this replica's.
	Shards shards.Shares
	Logger *slog.Logger
	// Interval is how often an instance is compared with its template when nothing is said to have changed. Zero means five minutes.
	Interval time.Duration
}

// SetupWithManager adds the controllers to a manager whose scheme and caches have been through package tenancy.
func SetupWithManager(mgr ctrl.Manager, options Options) error {
	if options.SystemNamespace == "" || options.Config == nil || options.Host == nil || options.Shards == nil || options.Logger == nil {
		return errors.New("options of the controllers of templates are missing")
	}
	if options.Interval == 0 {
		options.Interval = defaultInterval
	}
	impersonating, err := newImpersonating(options.Config, mgr.GetScheme(), mgr.GetRESTMapper())
	if err != nil {
		return err
	}
	versions, err := discovery.NewDiscoveryClientForConfig(options.Config)
	if err != nil {
		return fmt.Errorf("make the client of the host's version: %w", err)
	}
	cached := mgr.GetClient()
	r := &Reconciler{
		options: &options, host: options.Host, cached: cached, impersonating: impersonating, mapper: mgr.GetRESTMapper(),
		memory: newMemory(), log: options.Logger,
		renderer: &render.Renderer{
			Template: func(ctx context.Context, name string) (*tenancyv1alpha1.Template, error) {
				return find(ctx, cached, name)
			},
			Fetcher: chart.NewFetcher(nil),
			Charts: chart.NewRenderer(func(context.Context) (string, error) {
				version, err := versions.ServerVersion()
				if err != nil {
					return "", err
				}
				return version.GitVersion, nil
			}),
		},
	}
	if err := r.setup(mgr); err != nil {
		return fmt.Errorf("set up the controller of template instances: %w", err)
	}
	s := &Spaces{options: &options, host: options.Host, cached: cached, log: options.Logger}
	if err := s.setup(mgr); err != nil {
		return fmt.Errorf("set up the controller of spaces' templates: %w", err)
	}
	return nil
}

func find(ctx context.Context, cached client.Reader, name string) (*tenancyv1alpha1.Template, error) {
	var template tenancyv1alpha1.Template
	err := cached.Get(ctx, client.ObjectKey{Name: name}, &template)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return &template, err
}

func (r *Reconciler) setup(mgr ctrl.Manager) error {
	generation := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).Named("templateinstance").
		For(&tenancyv1alpha1.TemplateInstance{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, report.Changed(instanceStatus)))).
		Watches(&tenancyv1alpha1.TemplateInstance{}, handler.EnqueueRequestsFromMapFunc(r.ofNumber), builder.WithPredicates(number())).
		Watches(&tenancyv1alpha1.Template{}, handler.EnqueueRequestsFromMapFunc(r.ofTemplate), generation).
		Watches(&tenancyv1alpha1.SpaceTemplate{}, handler.EnqueueRequestsFromMapFunc(r.ofSpaceTemplate), generation).
		Watches(&tenancyv1alpha1.Account{}, handler.EnqueueRequestsFromMapFunc(r.ofAccount), generation).
		Watches(&tenancyv1alpha1.Space{}, handler.EnqueueRequestsFromMapFunc(r.ofSpace), builder.WithPredicates(usable())).
		WatchesRawSource(tenancy.Gained(r.options.Shards, r.gainedInstances)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()}).
		Complete(r)
}

func (s *Spaces) setup(mgr ctrl.Manager) error {
	generation := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).Named("spacetemplates").
		For(&tenancyv1alpha1.Space{}, builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, usable(), report.Changed(spaceStatus)))).
		Watches(&tenancyv1alpha1.TemplateInstance{}, handler.EnqueueRequestsFromMapFunc(ofInstance)).
		Watches(&tenancyv1alpha1.SpaceTemplate{}, handler.EnqueueRequestsFromMapFunc(s.ofSpaceTemplate), generation).
		Watches(&tenancyv1alpha1.Account{}, handler.EnqueueRequestsFromMapFunc(s.ofAccount), generation).
		WatchesRawSource(tenancy.Gained(s.options.Shards, s.gainedSpaces)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: tenancy.BackOff()}).
		Complete(s)
}

// instanceStatus is what the controller of instances reports, without its counts and times.
func instanceStatus(instance *tenancyv1alpha1.TemplateInstance) any {
	return report.Said(instance.Status.Conditions, tenancyv1alpha1.ConditionReady)
}

// spaceStatus is what the controller of spaces' templates reports.
func spaceStatus(space *tenancyv1alpha1.Space) any {
	return report.Said(space.Status.Conditions, tenancyv1alpha1.ConditionTemplatesApplied)
}

// usable lets through that a space has its namespace, and that it falls asleep or wakes.
func usable() predicate.Predicate {
	state := func(object client.Object) [2]bool {
		space, ok := object.(*tenancyv1alpha1.Space)
		return [2]bool{
			ok && space.Status.NamespaceUID != "",
			ok && meta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionAsleep),
		}
	}
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { return state(e.ObjectOld) != state(e.ObjectNew) },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// instances finds those that are meant, in one namespace or everywhere.
func (r *Reconciler) instances(ctx context.Context, namespace string, isMeant func(*tenancyv1alpha1.TemplateInstance) bool) []reconcile.Request {
	var list tenancyv1alpha1.TemplateInstanceList
	if err := r.cached.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("Cannot list the instances of templates", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for index := range list.Items {
		if instance := &list.Items[index]; isMeant(instance) {
			requests = append(requests, request(instance.Namespace, instance.Name))
		}
	}
	return requests
}

// ofTemplate finds the instances of a template and of those that include it.
func (r *Reconciler) ofTemplate(ctx context.Context, template client.Object) []reconcile.Request {
	var templates tenancyv1alpha1.TemplateList
	var spaceTemplates tenancyv1alpha1.SpaceTemplateList
	if err := errors.Join(r.cached.List(ctx, &templates, client.UnsafeDisableDeepCopy), r.cached.List(ctx, &spaceTemplates, client.UnsafeDisableDeepCopy)); err != nil {
		r.log.Error("Cannot list the templates", "error", err)
		return nil
	}
	meant := map[string]bool{template.GetName(): true}
	uses := func(uses []tenancyv1alpha1.TemplateUse) bool {
		return slices.ContainsFunc(uses, func(use tenancyv1alpha1.TemplateUse) bool { return meant[use.Name] })
	}
	for grows := true; grows; {
		grows = false
		for index := range templates.Items {
			if item := &templates.Items[index]; !meant[item.Name] && uses(item.Spec.Includes) {
				meant[item.Name], grows = true, true
			}
		}
	}
	meantSpaces := map[string]bool{}
	for index := range spaceTemplates.Items {
		meantSpaces[spaceTemplates.Items[index].Name] = uses(spaceTemplates.Items[index].Spec.Templates)
	}
	return r.instances(ctx, "", func(instance *tenancyv1alpha1.TemplateInstance) bool {
		return meant[instance.Spec.Template] || meantSpaces[instance.Spec.SpaceTemplate]
	})
}

func (r *Reconciler) ofSpaceTemplate(ctx context.Context, template client.Object) []reconcile.Request {
	return r.instances(ctx, "", func(instance *tenancyv1alpha1.TemplateInstance) bool {
		return instance.Spec.SpaceTemplate == template.GetName()
	})
}

func (r *Reconciler) ofSpace(ctx context.Context, space client.Object) []reconcile.Request {
	return r.instances(ctx, space.GetName(), func(*tenancyv1alpha1.TemplateInstance) bool { return true })
}

func (r *Reconciler) ofAccount(ctx context.Context, account client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, space := range spacesOf(ctx, r.cached, r.log, func(space *tenancyv1alpha1.Space) bool { return space.Spec.Account == account.GetName() }) {
		requests = append(requests, r.ofSpace(ctx, space)...)
	}
	return requests
}

func (r *Reconciler) gainedInstances(ctx context.Context, isGained func(types.UID) bool) []reconcile.Request {
	return r.instances(ctx, "", func(instance *tenancyv1alpha1.TemplateInstance) bool {
		if isGained(instance.UID) {
			r.memory.forget(instance.UID)
			return true
		}
		return false
	})
}

func ofInstance(_ context.Context, object client.Object) []reconcile.Request {
	instance, ok := object.(*tenancyv1alpha1.TemplateInstance)
	if !ok || instance.Spec.SpaceTemplate == "" {
		return nil
	}
	return []reconcile.Request{request("", instance.Namespace)}
}

func (s *Spaces) requests(ctx context.Context, isMeant func(*tenancyv1alpha1.Space) bool) []reconcile.Request {
	var requests []reconcile.Request
	for _, space := range spacesOf(ctx, s.cached, s.log, isMeant) {
		requests = append(requests, request("", space.Name))
	}
	return requests
}

func (s *Spaces) ofAccount(ctx context.Context, account client.Object) []reconcile.Request {
	return s.requests(ctx, func(space *tenancyv1alpha1.Space) bool { return space.Spec.Account == account.GetName() })
}

// ofSpaceTemplate finds the spaces that use a template: whether it is mandatory stands in their instances.
func (s *Spaces) ofSpaceTemplate(ctx context.Context, template client.Object) []reconcile.Request {
	var accounts tenancyv1alpha1.AccountList
	if err := s.cached.List(ctx, &accounts, client.UnsafeDisableDeepCopy); err != nil {
		s.log.Error("Cannot list the accounts", "error", err)
		return nil
	}
	isUsed := func(use *tenancyv1alpha1.SpaceTemplateUse) bool { return use != nil && use.Name == template.GetName() }
	meant := map[string]bool{}
	for index := range accounts.Items {
		meant[accounts.Items[index].Name] = isUsed(accounts.Items[index].Spec.Spaces.Template)
	}
	return s.requests(ctx, func(space *tenancyv1alpha1.Space) bool {
		return meant[space.Spec.Account] || isUsed(space.Spec.Template)
	})
}

func (s *Spaces) gainedSpaces(ctx context.Context, isGained func(types.UID) bool) []reconcile.Request {
	return s.requests(ctx, func(space *tenancyv1alpha1.Space) bool { return isGained(space.UID) })
}

func spacesOf(ctx context.Context, cached client.Reader, log *slog.Logger, isMeant func(*tenancyv1alpha1.Space) bool) []*tenancyv1alpha1.Space {
	var list tenancyv1alpha1.SpaceList
	if err := cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		log.Error("Cannot list the spaces", "error", err)
		return nil
	}
	var spaces []*tenancyv1alpha1.Space
	for index := range list.Items {
		if space := &list.Items[index]; isMeant(space) {
			spaces = append(spaces, space)
		}
	}
	return spaces
}
