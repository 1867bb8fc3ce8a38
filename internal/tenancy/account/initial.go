package account

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

// makeInitial makes the spaces that come with the account, each once: what somebody deletes later is not made again.
func (r *Reconciler) makeInitial(ctx context.Context, account *tenancyv1alpha1.Account, found *findings) error {
	if account.Spec.Suspended {
		return nil
	}
	var taken []string
	for _, name := range account.Spec.Spaces.Initial {
		if slices.Contains(found.initial, name) {
			continue
		}
		isOurs, err := r.makeSpace(ctx, account, name)
		if err != nil {
			return err
		}
		if !isOurs {
			taken = append(taken, name)
			continue
		}
		found.initial = append(slices.Clone(found.initial), name)
	}
	if len(taken) > 0 {
		found.initialTaken = fmt.Sprintf("Spaces of these names belong to other accounts: %s; take them off spec.spaces.initial", strings.Join(taken, ", "))
		found.after = later
	}
	return nil
}

// makeSpace makes a space unless it is there, and tells whether it is this account's.
func (r *Reconciler) makeSpace(ctx context.Context, account *tenancyv1alpha1.Account, name string) (bool, error) {
	space := &tenancyv1alpha1.Space{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       tenancyv1alpha1.SpaceSpec{Account: account.Name},
	}
	err := r.host.Create(ctx, space, fieldManager)
	if err == nil {
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("create Space %q: %w", name, err)
	}
	var present tenancyv1alpha1.Space
	if err := r.host.Get(ctx, client.ObjectKey{Name: name}, &present); err != nil {
		return false, fmt.Errorf("get Space %q: %w", name, err)
	}
	return present.Spec.Account == account.Name, nil
}
