package virtualcluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// clear removes what guards a namespace as soon as there is nothing left in it that has to be guarded: the network policies of the
// agent and, last of all, its own rights. It lists a few times for all namespaces, since there may be hundreds of them.
func (r *Reconciler) clear(ctx context.Context, uid types.UID, namespaces []corev1.Namespace) error {
	own := client.MatchingLabels{mapping.LabelUID: string(uid)}
	var pods corev1.PodList
	if err := r.host.List(ctx, &pods, own); err != nil {
		return fmt.Errorf("list the pods of the virtual cluster: %w", err)
	}
	isUsed := map[string]bool{}
	for i := range pods.Items {
		isUsed[pods.Items[i].Namespace] = true
		if err := releasePod(ctx, r.host, &pods.Items[i]); err != nil {
			return err
		}
	}
	guards, err := r.guards(ctx, own)
	if err != nil {
		return err
	}
	return eachOf(ctx, namespaces, func(ctx context.Context, namespace *corev1.Namespace) error {
		if isUsed[namespace.Name] || len(guards[namespace.Name]) == 0 {
			return nil
		}
		// Somebody else's pods count, too, and so do those that came while others were listed.
		left, err := releasePods(ctx, r.host, namespace.Name)
		if err != nil || left > 0 {
			return err
		}
		for _, guard := range guards[namespace.Name] {
			if err := r.deleteExactly(ctx, guard); err != nil {
				return err
			}
		}
		return nil
	})
}

// guards are the policies and bindings by namespace, in the order in which they go.
func (r *Reconciler) guards(ctx context.Context, own client.MatchingLabels) (map[string][]client.Object, error) {
	var policies networkingv1.NetworkPolicyList
	if err := r.host.List(ctx, &policies, own); err != nil {
		return nil, fmt.Errorf("list the NetworkPolicies of the virtual cluster: %w", err)
	}
	var bindings rbacv1.RoleBindingList
	if err := r.host.List(ctx, &bindings, own); err != nil {
		return nil, fmt.Errorf("list the RoleBindings of the virtual cluster: %w", err)
	}
	found := map[string][]client.Object{}
	for i := range policies.Items {
		found[policies.Items[i].Namespace] = append(found[policies.Items[i].Namespace], &policies.Items[i])
	}
	for i := range bindings.Items {
		found[bindings.Items[i].Namespace] = append(found[bindings.Items[i].Namespace], &bindings.Items[i])
	}
	return found, nil
}
