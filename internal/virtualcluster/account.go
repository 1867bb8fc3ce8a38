package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// rulesPeriod is how soon to look again for the rules of an account that are not in its space yet.
const rulesPeriod = 100 * time.Millisecond

// spaceRules are those of the account that the namespace of a VirtualCluster belongs to; nil for a namespace that is no space. The
// API server itself is asked: with a cache that is behind, a virtual cluster would come to be outside of its account.
func spaceRules(ctx context.Context, host client.Reader, vc *clusterv1alpha1.VirtualCluster) (*rules.Rules, error) {
	var space corev1.Namespace
	if err := host.Get(ctx, client.ObjectKey{Name: vc.Namespace}, &space); err != nil {
		return nil, fmt.Errorf("get Namespace %q: %w", vc.Namespace, err)
	}
	if space.Labels[mapping.LabelKind] != mapping.KindSpace || rules.AccountOf(&space) == "" {
		return nil, nil
	}
	return rulesOf(&space)
}

func rulesOf(namespace *corev1.Namespace) (*rules.Rules, error) {
	found, ok, err := rules.Of(namespace)
	if err != nil {
		return nil, err
	}
	if !ok {
		err := fmt.Errorf("the rules of account %q are not in Namespace %q yet", rules.AccountOf(namespace), namespace.Name)
		return nil, &retrySoonError{after: rulesPeriod, err: err}
	}
	return &found, nil
}

// ensureAccount makes a control namespace one of the account of its space and returns the rules that hold in it; nil without an
// account. A namespace that has an account keeps it.
func (r *Reconciler) ensureAccount(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, namespace *corev1.Namespace) (*rules.Rules, error) {
	if found, ok, err := rules.Of(namespace); ok || err != nil {
		return &found, err
	}
	account, err := spaceRules(ctx, r.host, vc)
	if err != nil || account == nil {
		return nil, err
	}
	if known := rules.AccountOf(namespace); known != "" && known != account.Account {
		return nil, fmt.Errorf("the Namespace %q belongs to account %q, the virtual cluster's own %q to %q; it is left alone",
			namespace.Name, known, vc.Namespace, account.Account)
	}
	before := namespace.DeepCopy()
	account.Put(&namespace.ObjectMeta)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.host.Patch(ctx, namespace, patch, fieldManager); err != nil {
		return nil, fmt.Errorf("put the rules of account %q into Namespace %q: %w", account.Account, namespace.Name, err)
	}
	return account, nil
}

// account are the rules that hold for a virtual cluster, as its control namespace has them.
func (r *registrar) account(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*rules.Rules, error) {
	var namespace corev1.Namespace
	name := mapping.ControlNamespace(vc.Status.ID)
	if err := r.cached.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return nil, fmt.Errorf("get Namespace %q: %w", name, err)
	}
	// The ID stands in a status; see connection.
	if namespace.Labels[mapping.LabelUID] != string(vc.UID) {
		return nil, fmt.Errorf("the Namespace %q is not this virtual cluster's: its label %s is %q, not %q",
			name, mapping.LabelUID, namespace.Labels[mapping.LabelUID], vc.UID)
	}
	if rules.AccountOf(&namespace) == "" {
		return nil, nil
	}
	found, ok, err := rules.Of(&namespace)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the rules of account %q are not in Namespace %q", rules.AccountOf(&namespace), name)
	}
	return &found, nil
}
