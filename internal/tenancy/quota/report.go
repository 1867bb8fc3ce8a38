package quota

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// reportEvery is how often the status of a quota is written at most.
const reportEvery = time.Second

// report writes the status if it has changed. It returns how long to wait where it was written a moment ago.
func (t *tending) report(ctx context.Context) (time.Duration, error) {
	wanted := t.status()
	if equality.Semantic.DeepEqual(t.quota.Status, wanted) {
		return 0, nil
	}
	now := t.options.Clock.Now()
	if wait := t.book.statusAt.Add(reportEvery).Sub(now); wait > 0 {
		return wait, nil
	}
	changed := t.quota.DeepCopy()
	changed.Status = wanted
	if err := t.host.Status().Update(ctx, changed); err != nil {
		return 0, fmt.Errorf("write the status of account quota %q: %w", t.quota.Name, err)
	}
	t.book.statusAt = now
	return 0, nil
}

func (t *tending) status() tenancyv1alpha1.AccountQuotaStatus {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	status := *t.quota.Status.DeepCopy()
	status.ObservedGeneration, status.Epoch = t.quota.Generation, t.book.epoch
	status.Hard, status.Namespaces = t.quota.Spec.Quota.Hard, nil
	used := amounts{}
	for name := range t.total {
		used[name] = 0
	}
	var waiting []string
	for _, one := range t.book.sorted() {
		if one.quota == nil && len(one.used) == 0 || !one.isGone && !one.isEnding && !t.isEnforced(one) {
			waiting = append(waiting, one.namespace)
		}
		part := tenancyv1alpha1.NamespaceUsage{Namespace: one.namespace, Used: t.only(one.used).list()}
		if !one.isGone {
			part.Hard = t.only(one.hard).list()
		}
		status.Namespaces = append(status.Namespaces, part)
		for name := range t.total {
			used[name] = plus(used[name], one.used[name])
		}
	}
	status.Used = used.list()
	for _, condition := range []metav1.Condition{t.ready(waiting), t.within(used)} {
		condition.ObservedGeneration = t.quota.Generation
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	return status
}

// only leaves out what the quota does not bound.
func (t *tending) only(all amounts) amounts {
	kept := make(amounts, len(t.total))
	for name := range t.total {
		if amount, ok := all[name]; ok {
			kept[name] = amount
		}
	}
	return kept
}

// isEnforced tells whether the host refuses what goes beyond the lot's part.
func (t *tending) isEnforced(one *lot) bool {
	for name := range t.total {
		if !one.isCounted(name) {
			return false
		}
	}
	return true
}

func (t *tending) ready(waiting []string) metav1.Condition {
	condition := metav1.Condition{
		Type: tenancyv1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: tenancyv1alpha1.ReasonEscrow,
		Message: "Every namespace of the account has its part.",
	}
	switch {
	case t.refusal != "":
		condition.Status, condition.Reason = metav1.ConditionFalse, tenancyv1alpha1.ReasonRefused
		condition.Message = shown("The host refuses the ResourceQuotas of this quota; change spec.quota: " + t.refusal)
	case len(waiting) > 0:
		condition.Status, condition.Reason = metav1.ConditionFalse, tenancyv1alpha1.ReasonPending
		condition.Message = shown("The host does not count yet in " + strings.Join(waiting, ", "))
	}
	return condition
}

func (t *tending) within(used amounts) metav1.Condition {
	var over []corev1.ResourceName
	for name, amount := range used {
		if amount > t.total[name] {
			over = append(over, name)
		}
	}
	if len(over) == 0 {
		return metav1.Condition{
			Type: tenancyv1alpha1.ConditionWithinQuota, Status: metav1.ConditionTrue, Reason: tenancyv1alpha1.ReasonWithin,
			Message: "No more is used than the quota allows.",
		}
	}
	slices.Sort(over)
	parts := make([]string, 0, len(over))
	for _, name := range over {
		amount, bound := quantityOf(name, used[name]), t.quota.Spec.Quota.Hard[name]
		parts = append(parts, fmt.Sprintf("%s: %s used of %s", name, amount.String(), bound.String()))
	}
	return metav1.Condition{
		Type: tenancyv1alpha1.ConditionWithinQuota, Status: metav1.ConditionFalse, Reason: tenancyv1alpha1.ReasonOver,
		Message: shown("More is used than the quota allows; nothing is evicted, and nothing is added until there is room: " + strings.Join(parts, "; ")),
	}
}
