package quota

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// fence puts this replica's epoch on every ResourceQuota that does not have it, and changes the version of those that a write was
// sent to whose end is not known: what is still on its way there is void then. Afterwards it makes sure that it still is the
// owner: whoever took over later reads what there is after that, and so sees all that this one may ever raise.
func (t *tending) fence(ctx context.Context) error {
	epoch := t.book.ownEpoch()
	var open []*lot
	var hasMark []bool // it was made with it
	t.book.mu.Lock()
	for _, one := range t.book.lots {
		if one.quota != nil && !one.isGone && !one.isOwn(epoch) {
			open, hasMark = append(open, one), append(hasMark, epochOf(one.quota) == epoch && len(one.tried) == 0)
		}
	}
	t.book.mu.Unlock()
	if len(open) == 0 {
		return nil
	}
	fenced := make([]bool, len(open))
	err := t.each(len(open), func(index int) error {
		if hasMark[index] {
			fenced[index] = true
			return nil
		}
		err := t.mark(ctx, open[index], epoch)
		fenced[index] = err == nil
		return client.IgnoreNotFound(err)
	})
	if err != nil {
		return err
	}
	if err := t.confirm(ctx, epoch); err != nil {
		return err
	}
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	for index, one := range open {
		if fenced[index] {
			one.epoch, one.tried = epoch, nil
		}
	}
	return nil
}

// mark changes the version of a ResourceQuota, whatever it is.
func (t *tending) mark(ctx context.Context, one *lot, epoch int64) error {
	quota := &corev1.ResourceQuota{}
	quota.Namespace, quota.Name = one.namespace, resourceQuotaName(t.quota.Name)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotationEpoch, epochText(epoch, rand.String(8)))
	if err := t.host.Patch(ctx, quota, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("mark ResourceQuota %q: %w", quota.Namespace+"/"+quota.Name, err)
	}
	t.book.see(quota, t.options.Clock.Now())
	return nil
}

// confirm asks the API server itself whether this replica is still the owner.
func (t *tending) confirm(ctx context.Context, epoch int64) error {
	var live tenancyv1alpha1.AccountQuota
	if err := t.host.Get(ctx, client.ObjectKeyFromObject(t.quota), &live); err != nil {
		return fmt.Errorf("get account quota %q: %w", t.quota.Name, err)
	}
	if live.UID != t.quota.UID || live.Status.Epoch != epoch {
		t.book.lose()
		return fmt.Errorf("account quota %q: %w", t.quota.Name, errNotOwner)
	}
	return nil
}
