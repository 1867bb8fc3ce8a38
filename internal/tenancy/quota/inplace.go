package quota

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	inPlaceTakes = 5 * time.Second
	inPlaceTry   = 20 * time.Millisecond
)

// ErrNotCounted says that the host does not enforce a ResourceQuota yet: it has not counted what there is.
var ErrNotCounted = errors.New("the host has not counted what there is; is its resource-quota controller running? Try again later")

// InPlace brings a namespace, which must have its labels, into the escrow of every quota of its account, with nothing if it is new, and
// returns when the host refuses what goes beyond. Nothing may be created in the namespace before. It does nothing in a
// namespace without an account, or whose account has no quota. It may be called on every replica.
func (c *Controller) InPlace(ctx context.Context, namespace *corev1.Namespace) error {
	account := namespace.Labels[mapping.LabelAccount]
	if account == "" {
		return nil
	}
	quotas, err := c.quotas(ctx, account)
	if err != nil {
		return err
	}
	for index := range quotas {
		if quotas[index].DeletionTimestamp != nil {
			continue
		}
		if err := c.inPlace(ctx, &quotas[index], namespace); err != nil {
			return fmt.Errorf("bring namespace %q into the account quota %q: %w", namespace.Name, quotas[index].Name, err)
		}
	}
	return nil
}

func (c *Controller) inPlace(ctx context.Context, quota *tenancyv1alpha1.AccountQuota, namespace *corev1.Namespace) error {
	known := &corev1.ResourceQuota{}
	key := client.ObjectKey{Namespace: namespace.Name, Name: resourceQuotaName(quota.Name)}
	if err := c.cache.Get(ctx, key, known); err == nil && isCounted(known) {
		return nil
	}
	if err := c.host.Create(ctx, render(quota, namespace)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create its ResourceQuota: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, inPlaceTakes)
	defer cancel()
	tick := time.NewTicker(inPlaceTry)
	defer tick.Stop()
	for {
		err := c.host.Get(ctx, key, known)
		if err == nil && isCounted(known) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ErrNotCounted, client.IgnoreNotFound(err))
		case <-tick.C:
		}
	}
}

// isCounted tells whether the host enforces every bound of the spec, or a tighter one.
func isCounted(quota *corev1.ResourceQuota) bool {
	if quota.DeletionTimestamp != nil {
		return false
	}
	for name := range quota.Spec.Hard {
		_, isHard := quota.Status.Hard[name]
		_, isUsed := quota.Status.Used[name]
		if !isHard || !isUsed {
			return false
		}
	}
	return true
}
