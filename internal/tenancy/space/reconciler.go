package space

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/finalizer"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/grant"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// fieldManager owns what this controller writes on the host.
const fieldManager = client.FieldOwner("matryoshka-space")

const (
	// soon is when something is looked at again that others have changed at the same time.
	soon = 100 * time.Millisecond
	// later is when a space is looked at again that waits for something whose end comes as an event, should that be missed.
	later = 30 * time.Second
)

// Reconciler is the controller of spaces.
type Reconciler struct {
	options Options
	host    client.Client
	cached  client.Reader
	slots   *slot.Slots
	log     *slog.Logger
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// Reconcile brings one space a step closer to what its object says.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var space tenancyv1alpha1.Space
	err := r.cached.Get(ctx, request.NamespacedName, &space)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, r.closeOrphan(ctx, request.Name)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("get Space %q: %w", request.Name, err)
	}
	work, leave, ok := r.options.Shards.Enter(ctx, space.UID)
	if !ok {
		return reconcile.Result{}, nil // another replica's; it comes again when this one gains it
	}
	defer leave()
	result, err := r.advance(work, &space)
	switch {
	case work.Err() != nil && ctx.Err() == nil:
		return reconcile.Result{}, nil // another replica's by now, which tries again
	case apierrors.IsConflict(err) || slot.IsBusy(err):
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return result, err
}

func (r *Reconciler) advance(ctx context.Context, space *tenancyv1alpha1.Space) (reconcile.Result, error) {
	if !space.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, space)
	}
	// Nothing may be made before the finalizer is stored.
	if err := finalizer.Add(ctx, r.host, space, tenancyv1alpha1.Finalizer, fieldManager); err != nil {
		return reconcile.Result{}, err
	}
	account, err := r.account(ctx, space)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.withdraw(ctx, space, account); err != nil {
		return reconcile.Result{}, err
	}
	found, err := r.pursue(ctx, space, account)
	isReady := apimeta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionReady)
	if apierrors.IsConflict(err) || slot.IsBusy(err) || (grant.IsBehind(err) && isReady) {
		return reconcile.Result{}, err // it passes by itself: there is nothing to report
	}
	if err != nil {
		found.verdict = hostError(err)
	}
	if statusErr := r.report(ctx, space, found); statusErr != nil {
		return reconcile.Result{}, statusErr
	}
	return reconcile.Result{RequeueAfter: found.verdict.after}, err
}

// account is that of the space, or nil if there is none.
func (r *Reconciler) account(ctx context.Context, space *tenancyv1alpha1.Space) (*tenancyv1alpha1.Account, error) {
	var account tenancyv1alpha1.Account
	err := r.cached.Get(ctx, client.ObjectKey{Name: space.Spec.Account}, &account)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Account %q: %w", space.Spec.Account, err)
	}
	return &account, nil
}

// pursue does what is still to be done until something is missing that others must bring.
func (r *Reconciler) pursue(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) (findings, error) {
	found := findings{namespaceUID: space.Status.NamespaceUID}
	if account == nil || !account.DeletionTimestamp.IsZero() {
		found.verdict = noAccount(space, account)
		return found, nil
	}
	if account.Spec.Suspended && space.Status.NamespaceUID == "" {
		found.verdict = suspended(account)
		return found, nil
	}
	standing, err := r.claim(ctx, space, account)
	if err != nil {
		return found, err
	}
	if !standing.IsHeld {
		found.verdict = limitReached(account, standing.Used)
		return found, r.endTooMany(ctx, account.Name)
	}
	namespace, verdict, err := r.ensureNamespace(ctx, space, account)
	if err != nil || verdict != nil {
		if verdict != nil {
			found.verdict = *verdict
		}
		return found, err
	}
	found.namespaceUID = namespace.UID
	if r.options.InPlace != nil {
		if err := r.options.InPlace(ctx, namespace); err != nil {
			found.verdict = waitingForQuota()
			return found, err
		}
	}
	if account.Spec.Suspended {
		found.verdict = suspended(account)
		return found, nil
	}
	if wantsTemplates(space, account) && !apimeta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionTemplatesApplied) {
		found.verdict = waitingForTemplates(space)
		return found, nil
	}
	verdict, err = r.give(ctx, space, account)
	if verdict != nil {
		found.verdict = *verdict
		return found, err
	}
	found.verdict = ready()
	return found, err
}

// claim looks at what is watched first: a space that has its slot asks nobody.
func (r *Reconciler) claim(ctx context.Context, space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) (slot.Standing, error) {
	isHeld, err := r.slots.Held(ctx, account.Name, space.UID)
	if err != nil || isHeld {
		return slot.Standing{IsHeld: isHeld}, err
	}
	// The limit counts that is stored now, not the one that the watch has told of.
	var fresh tenancyv1alpha1.Account
	if err := r.host.Get(ctx, client.ObjectKeyFromObject(account), &fresh); err != nil {
		return slot.Standing{}, fmt.Errorf("get Account %q: %w", account.Name, err)
	}
	return r.slots.Claim(ctx, account.Name, fresh.Spec.Spaces.Limit, slot.Holder{UID: space.UID, Name: space.Name})
}

func wantsTemplates(space *tenancyv1alpha1.Space, account *tenancyv1alpha1.Account) bool {
	return space.Spec.Template != nil || account.Spec.Spaces.Template != nil
}
