package template

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/render"
)

// fieldManager owns what the controllers write as the agent.
const fieldManager = client.FieldOwner("matryoshka-template")

const (
	// soon is when something is looked at again that others have changed at the same time.
	soon = 200 * time.Millisecond
	// later is when something is tried again whose reason may have gone without an event that is watched.
	later = 30 * time.Second
	// guarded is how much less often instances of space templates are looked at.
	guarded = 3
	// patience bounds one round.
	patience = 2 * time.Minute
)

// Reconciler is the controller of template instances.
type Reconciler struct {
	options       *Options
	host          client.Client
	cached        client.Reader
	impersonating client.Client
	mapper        meta.RESTMapper
	renderer      *render.Renderer
	memory        *memory
	log           *slog.Logger
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// Reconcile brings one instance a step closer to what its object says. The end of an instance is the garbage collector's work.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var instance tenancyv1alpha1.TemplateInstance
	if err := r.cached.Get(ctx, request.NamespacedName, &instance); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !instance.DeletionTimestamp.IsZero() {
		r.memory.forget(instance.UID)
		return reconcile.Result{}, nil
	}
	work, leave, ok := r.options.Shards.Enter(ctx, instance.UID)
	if !ok {
		r.memory.forget(instance.UID)
		return reconcile.Result{}, nil // another replica's; it comes again when this one gains it
	}
	defer leave()
	work, cancel := context.WithTimeout(work, patience)
	defer cancel()
	result, err := r.advance(work, &instance)
	if apierrors.IsConflict(err) || errors.Is(err, errNotYet) {
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return result, err
}

// errNotYet is when the host is about to make something that is needed.
var errNotYet = errors.New("the host has not made it yet")

// attempt is one round of one instance.
type attempt struct {
	*Reconciler
	instance *tenancyv1alpha1.TemplateInstance
	status   tenancyv1alpha1.TemplateInstanceStatus
	// isSame tells that what is applied is what was applied the last time, so that what differs was changed by somebody.
	isSame bool
	// areRightsNew tells that what is forbidden may be allowed in a moment.
	areRightsNew bool
}

func (r *Reconciler) advance(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance) (reconcile.Result, error) {
	a := &attempt{Reconciler: r, instance: instance, status: *instance.Status.DeepCopy()}
	space, account, err := r.owner(ctx, instance)
	if err == nil {
		err = a.run(ctx, space, account)
	}
	if err == nil {
		return reconcile.Result{RequeueAfter: r.interval(instance)}, nil
	}
	p, isProblem := errors.AsType[*render.Problem](err)
	if !isProblem {
		if apierrors.IsConflict(err) || errors.Is(err, errNotYet) || ctx.Err() != nil {
			return reconcile.Result{}, err
		}
		p = render.NewProblem(tenancyv1alpha1.ReasonApplyFailed, errors.New(cut(err.Error())))
	}
	if reportErr := a.report(ctx, metav1.ConditionFalse, p.Reason, p.Error()); reportErr != nil {
		return reconcile.Result{}, reportErr
	}
	if !isProblem {
		return reconcile.Result{}, err
	}
	a.tellProblem(ctx, p.Reason, p.Error())
	if isWatched(p.Reason) {
		return reconcile.Result{RequeueAfter: r.interval(instance)}, nil
	}
	return reconcile.Result{RequeueAfter: later}, nil
}

// isWatched tells whether the end of a problem comes as an event.
func isWatched(reason string) bool {
	switch reason {
	case tenancyv1alpha1.ReasonSuspended, tenancyv1alpha1.ReasonAsleep, tenancyv1alpha1.ReasonNotASpace, tenancyv1alpha1.ReasonNoAccount,
		tenancyv1alpha1.ReasonTemplateMissing, tenancyv1alpha1.ReasonTemplateCircular, tenancyv1alpha1.ReasonTooMany:
		return true
	}
	return false
}

// interval is when an instance is looked at again that is as it should be. They do not all come at once. Those of space templates
// are many, and their objects are guarded.
func (r *Reconciler) interval(instance *tenancyv1alpha1.TemplateInstance) time.Duration {
	interval := r.options.Interval
	if instance.Spec.SpaceTemplate != "" {
		interval *= guarded
	}
	return interval + rand.N(interval/4+1) //nolint:gosec // it spreads work, and may be guessed
}

// owner finds the space of an instance and its account, and says why nothing is to be done.
func (r *Reconciler) owner(ctx context.Context, instance *tenancyv1alpha1.TemplateInstance) (*tenancyv1alpha1.Space, *tenancyv1alpha1.Account, error) {
	var space tenancyv1alpha1.Space
	err := r.cached.Get(ctx, client.ObjectKey{Name: instance.Namespace}, &space)
	if client.IgnoreNotFound(err) != nil {
		return nil, nil, fmt.Errorf("get Space %q: %w", instance.Namespace, err)
	}
	if err != nil || space.Status.NamespaceUID == "" || !space.DeletionTimestamp.IsZero() {
		return nil, nil, problem(tenancyv1alpha1.ReasonNotASpace, "templates are applied in spaces only, and %q is none or is not ready", instance.Namespace)
	}
	var account tenancyv1alpha1.Account
	err = r.cached.Get(ctx, client.ObjectKey{Name: space.Spec.Account}, &account)
	if apierrors.IsNotFound(err) {
		return nil, nil, problem(tenancyv1alpha1.ReasonNoAccount, "there is no account %q", space.Spec.Account)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get Account %q: %w", space.Spec.Account, err)
	}
	if account.Spec.Suspended {
		return nil, nil, problem(tenancyv1alpha1.ReasonSuspended, "the account %q is suspended; what was applied stays as it is", account.Name)
	}
	// What sleeps has been changed on purpose; it is looked at when it wakes.
	if meta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionAsleep) && instance.Spec.SpaceTemplate == "" {
		return nil, nil, problem(tenancyv1alpha1.ReasonAsleep, "the space is asleep; templates are applied when it wakes")
	}
	return &space, &account, nil
}

// run applies the instance.
func (a *attempt) run(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) error {
	isOnce := a.instance.Spec.Sync != nil && !*a.instance.Spec.Sync
	if isOnce && a.status.MadeOnce {
		return a.report(ctx, metav1.ConditionTrue, tenancyv1alpha1.ReasonAppliedOnce, "The objects were made once and are left alone; set spec.sync to have them follow the template")
	}
	if err := a.checkNumber(ctx); err != nil {
		return err
	}
	areNew, err := a.ensureRights(ctx, a.instance, account)
	if err != nil {
		return err
	}
	a.areRightsNew = areNew
	made, err := a.render(ctx, a.instance, account.Name)
	if p, ok := errors.AsType[*render.Problem](err); ok && p.Reason == tenancyv1alpha1.ReasonSecretMissing && a.areRightsNew {
		return errNotYet // it may only be that it could not be read
	}
	if err != nil {
		return err
	}
	if err := a.applyAll(ctx, space, made); err != nil {
		return err
	}
	if a.status.MadeOnce = isOnce; isOnce {
		return a.report(ctx, metav1.ConditionTrue, tenancyv1alpha1.ReasonAppliedOnce, fmt.Sprintf("%d objects were made and are left alone from now on", len(made.Objects)))
	}
	return a.report(ctx, metav1.ConditionTrue, tenancyv1alpha1.ReasonApplied, fmt.Sprintf("%d objects are in place", len(made.Objects)))
}

func (a *attempt) writer(made *rendered) *writer {
	return &writer{
		host: a.impersonating, mapper: a.mapper, instance: a.instance, isMandatory: made.isMandatory, hasSecrets: made.HasSecrets,
		areRightsNew: a.areRightsNew,
	}
}

// applyAll makes the objects as they were rendered and removes those that are no longer. When it fails and nothing was in place
// before, nothing is left.
func (a *attempt) applyAll(ctx context.Context, space *tenancyv1alpha1.Space, made *rendered) error {
	asIdentity := a.identity(ctx, a.instance)
	w := a.writer(made)
	a.isSame = a.memory.before(a.instance.UID, made.fingerprint) || !made.HasSecrets && a.instance.Status.Rendered == made.fingerprint
	items, err := w.inspect(asIdentity, made.Objects)
	if err == nil && (!a.isSame || slices.ContainsFunc(items, func(item *item) bool { return item.live == nil })) {
		err = w.try(asIdentity, items)
	}
	if err == nil {
		err = a.checkAccount(ctx, made)
	}
	if errors.Is(err, errNotYet) {
		return err
	}
	if err != nil {
		a.list(items)
		return a.fail(asIdentity, w, err)
	}
	// What is about to be made is written down first, so that the next round knows of it whatever happens to this one.
	if err := a.announce(ctx, items); err != nil {
		return err
	}
	done, err := w.apply(asIdentity, items, a.memory.isSettled(a.instance.UID, made.fingerprint))
	if err == nil {
		err = a.applyToSpace(ctx, space, made)
	}
	if err != nil {
		a.memory.forget(a.instance.UID)
		return a.fail(asIdentity, w, errors.Join(err, a.undo(asIdentity, w, items, done)))
	}
	if err := a.prune(asIdentity, w, items); err != nil {
		return err
	}
	a.note(ctx, made, items, done)
	return nil
}

// undo removes what this attempt has made.
func (a *attempt) undo(ctx context.Context, w *writer, items []*item, done outcome) error {
	made := make([]tenancyv1alpha1.TemplatedObject, 0, len(done.created))
	for _, item := range done.created {
		made = append(made, listed(item))
		item.state = tenancyv1alpha1.ObjectPending
		item.live = nil
	}
	_, err := w.remove(ctx, made)
	a.list(items)
	return err
}

// fail removes what earlier attempts have left of an instance that was never in place.
func (a *attempt) fail(ctx context.Context, w *writer, err error) error {
	if a.instance.Status.FirstApplied != nil {
		return err
	}
	if _, cleanErr := w.remove(ctx, a.instance.Status.Objects); cleanErr != nil {
		return errors.Join(err, cleanErr)
	}
	return err
}

// prune removes objects of earlier renderings.
func (a *attempt) prune(ctx context.Context, w *writer, items []*item) error {
	current := map[tenancyv1alpha1.TemplatedObject]bool{}
	for _, item := range items {
		current[key(listed(item))] = true
	}
	var leaving []tenancyv1alpha1.TemplatedObject
	for _, object := range a.status.Objects {
		if !current[key(object)] {
			leaving = append(leaving, object)
		}
	}
	left, err := w.remove(ctx, leaving)
	a.status.Objects = nil
	a.list(items)
	a.status.Objects = append(a.status.Objects, left...)
	return err
}
