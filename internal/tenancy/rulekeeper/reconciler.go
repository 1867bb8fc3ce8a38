package rulekeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/report"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

const (
	// fieldManager owns what this controller writes on the host.
	fieldManager = client.FieldOwner("matryoshka-rules")

	// soon is when something is looked at again that others have changed at the same time.
	soon = 100 * time.Millisecond

	reasonEnforced = "Enforced"
	reasonInvalid  = "InvalidRules"
)

// Reconciler is the controller.
type Reconciler struct {
	host   client.Client
	cached client.Reader
	shards shards.Shares
	log    *slog.Logger
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// Reconcile brings the namespaces of one account in step with it.
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
	err := r.keep(work, &account)
	switch {
	case work.Err() != nil && ctx.Err() == nil:
		return reconcile.Result{}, nil // another replica's by now, which tries again
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{}, err
}

func (r *Reconciler) keep(ctx context.Context, account *tenancyv1alpha1.Account) error {
	defaultClass, err := DefaultPriorityClass(ctx, r.cached)
	if err != nil {
		return err
	}
	held, invalid := rules.FromAccount(account, defaultClass)
	if invalid == nil {
		if err := r.putAll(ctx, held); err != nil {
			return err
		}
	}
	if !account.DeletionTimestamp.IsZero() {
		return nil
	}
	part := report.Part{Conditions: []metav1.Condition{condition(invalid)}}
	return report.Write(ctx, r.host, account, account.Status.Conditions, fieldManager, part)
}

func condition(invalid error) metav1.Condition {
	if invalid != nil {
		return metav1.Condition{
			Type: tenancyv1alpha1.ConditionRulesEnforced, Status: metav1.ConditionFalse, Reason: reasonInvalid,
			Message: "The rules before go on holding, and new spaces cannot be used: " + invalid.Error(),
		}
	}
	return metav1.Condition{
		Type: tenancyv1alpha1.ConditionRulesEnforced, Status: metav1.ConditionTrue, Reason: reasonEnforced,
		Message: "The rules are in all namespaces of the account",
	}
}

func (r *Reconciler) putAll(ctx context.Context, held rules.Rules) error {
	var namespaces corev1.NamespaceList
	if err := r.cached.List(ctx, &namespaces, client.MatchingLabels{mapping.LabelAccount: held.Account}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the namespaces of account %q: %w", held.Account, err)
	}
	var errs []error
	for index := range namespaces.Items {
		namespace := &namespaces.Items[index]
		if held.ArePut(&namespace.ObjectMeta) || !namespace.DeletionTimestamp.IsZero() {
			continue
		}
		if err := r.put(ctx, held, namespace); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) put(ctx context.Context, held rules.Rules, namespace *corev1.Namespace) error {
	changed := namespace.DeepCopy()
	held.Put(&changed.ObjectMeta)
	patch := client.MergeFromWithOptions(namespace, client.MergeFromWithOptimisticLock{})
	err := r.host.Patch(ctx, changed, patch, fieldManager)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("put the rules of account %q into Namespace %q: %w", held.Account, namespace.Name, err)
	}
	return nil
}

// DefaultPriorityClass is the class that the host gives to pods without one, or "". Of several the host takes the lowest.
func DefaultPriorityClass(ctx context.Context, reader client.Reader) (string, error) {
	var classes schedulingv1.PriorityClassList
	if err := reader.List(ctx, &classes, client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("list the priority classes: %w", err)
	}
	var lowest *schedulingv1.PriorityClass
	for index := range classes.Items {
		if class := &classes.Items[index]; class.GlobalDefault && (lowest == nil || class.Value < lowest.Value) {
			lowest = class
		}
	}
	if lowest == nil {
		return "", nil
	}
	return lowest.Name, nil
}
