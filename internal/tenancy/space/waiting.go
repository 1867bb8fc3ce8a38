package space

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/slot"
)

// maxWaiting is how many spaces of an account may wait for a place. Whoever may make spaces could otherwise fill the host's datastore
// with objects that come to nothing.
const maxWaiting = 100

// endTooMany deletes the youngest of an account's spaces that wait if more do than may. Nothing was made for them. Whoever waits looks
// for all of them: a space that was not one too many when it was looked at can be so by an older one that is seen later, since the
// order within a second is known only when all have been seen.
func (r *Reconciler) endTooMany(ctx context.Context, account string) error {
	waiting, err := r.waiting(ctx, account, r.slots.Cached)
	if err != nil || len(waiting) <= maxWaiting {
		return err
	}
	// Who has just got a place must not count.
	if waiting, err = r.waiting(ctx, account, r.slots.Live); err != nil {
		return err
	}
	waiting = slices.DeleteFunc(waiting, func(space *tenancyv1alpha1.Space) bool { return space.Status.NamespaceUID != "" })
	slices.SortFunc(waiting, byAge)
	for _, space := range waiting[min(maxWaiting, len(waiting)):] {
		r.log.Warn("Too many spaces of an account wait for a place; deleting one", "space", space.Name, "account", account)
		if err := client.IgnoreNotFound(r.host.Delete(ctx, space, client.Preconditions{UID: &space.UID})); err != nil {
			return fmt.Errorf("delete Space %q, which is one too many: %w", space.Name, err)
		}
	}
	return nil
}

// waiting are the spaces of an account that have no place, as the watch has them: they must not be changed. held tells the slots.
func (r *Reconciler) waiting(ctx context.Context, account string, held func(context.Context, string) ([]slot.Slot, error)) ([]*tenancyv1alpha1.Space, error) {
	slots, err := held(ctx, account)
	if err != nil {
		return nil, err
	}
	holders := make(map[types.UID]bool, len(slots))
	for _, slot := range slots {
		holders[slot.Holder.UID] = true
	}
	var list tenancyv1alpha1.SpaceList
	if err := r.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the spaces of account %q: %w", account, err)
	}
	var waiting []*tenancyv1alpha1.Space
	for index := range list.Items {
		space := &list.Items[index]
		if space.Spec.Account == account && space.DeletionTimestamp.IsZero() && !holders[space.UID] {
			waiting = append(waiting, space)
		}
	}
	return waiting, nil
}

func byAge(a, b *tenancyv1alpha1.Space) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}
