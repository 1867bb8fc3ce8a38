package quota

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// move writes what the plan says, and returns how many writes that were.
func (t *tending) move(ctx context.Context) (int, error) {
	now := t.options.Clock.Now()
	t.book.mu.Lock()
	var writes []write
	var changes []*corev1.ResourceQuota
	for _, next := range plan(t.total, t.book.sorted(), t.book.epoch, now) {
		if next.raises && now.Before(t.book.mayRaiseAt) {
			continue
		}
		next.lot.tried = next.highest()
		writes, changes = append(writes, next), append(changes, next.change(now))
	}
	t.book.mu.Unlock()
	err := t.each(len(writes), func(index int) error {
		err := t.send(ctx, writes[index], changes[index])
		t.log.Debug("Moved a part of a quota", "quota", t.quota.Name, "namespace", writes[index].lot.namespace,
			"spec", writes[index].spec, "status", writes[index].status, "error", err)
		if isDecided(err) {
			t.book.settle(writes[index].lot)
		}
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return t.refresh(ctx, changes[index])
		}
		return err
	})
	return len(writes), err
}

// settle notes that a write has been carried out, or never will be.
func (b *book) settle(one *lot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one.tried = nil
}

func (t *tending) send(ctx context.Context, next write, change *corev1.ResourceQuota) error {
	var err error
	if next.spec != nil {
		err = t.host.Update(ctx, change)
	} else {
		err = t.host.Status().Update(ctx, change)
	}
	if err != nil {
		return fmt.Errorf("write ResourceQuota %q: %w", change.Namespace+"/"+change.Name, err)
	}
	t.book.see(change, t.options.Clock.Now())
	return nil
}

// isDecided tells whether the API server has said what became of a write.
func isDecided(err error) bool {
	return err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err)
}

// refresh reads a ResourceQuota of which somebody else has written a version that no watch has brought yet.
func (t *tending) refresh(ctx context.Context, outdated *corev1.ResourceQuota) error {
	quota := &corev1.ResourceQuota{}
	if err := t.host.Get(ctx, client.ObjectKeyFromObject(outdated), quota); err != nil {
		return client.IgnoreNotFound(err)
	}
	if quota.Labels[mapping.LabelAccountQuota] == t.quota.Name {
		t.book.see(quota, t.options.Clock.Now())
	}
	return nil
}
