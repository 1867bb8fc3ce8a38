package template

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// maxInstances is how many instances a space may have, beside those of space templates: the agent works for all spaces. The oldest count.
const maxInstances = 50

// checkNumber refuses an instance of which there are many older ones in the space.
func (a *attempt) checkNumber(ctx context.Context) error {
	if a.instance.Spec.SpaceTemplate != "" {
		return nil
	}
	counted, err := a.counted(ctx, a.instance.Namespace)
	if err != nil {
		return err
	}
	older := 0
	for _, other := range counted {
		if byAge(other, a.instance) < 0 {
			older++
		}
	}
	if older >= maxInstances {
		return problem(tenancyv1alpha1.ReasonTooMany, "the space has %d instances of templates that are older; delete some", older)
	}
	return nil
}

// ofNumber finds the instances that have got or lost their place by one that is new or gone: the order within a second is known only
// when all have been seen.
func (r *Reconciler) ofNumber(ctx context.Context, changed client.Object) []reconcile.Request {
	counted, err := r.counted(ctx, changed.GetNamespace())
	if err != nil {
		r.log.Error("Cannot tell which instances have a place", "error", err)
		return nil
	}
	slices.SortFunc(counted, byAge)
	var requests []reconcile.Request
	for index, instance := range counted {
		told := meta.FindStatusCondition(instance.Status.Conditions, tenancyv1alpha1.ConditionReady)
		hasPlace := index < maxInstances
		if told == nil || hasPlace == (told.Reason == tenancyv1alpha1.ReasonTooMany) {
			requests = append(requests, request(instance.Namespace, instance.Name))
		}
	}
	return requests
}

// counted are a space's instances that are limited in number, as the watch has them: they must not be changed.
func (r *Reconciler) counted(ctx context.Context, namespace string) ([]*tenancyv1alpha1.TemplateInstance, error) {
	var list tenancyv1alpha1.TemplateInstanceList
	if err := r.cached.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the instances of templates in %q: %w", namespace, err)
	}
	var counted []*tenancyv1alpha1.TemplateInstance
	for index := range list.Items {
		if instance := &list.Items[index]; instance.Spec.SpaceTemplate == "" {
			counted = append(counted, instance)
		}
	}
	return counted, nil
}

func byAge(a, b *tenancyv1alpha1.TemplateInstance) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}

// number lets through that there is one more or one less.
func number() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}
