package networkpolicy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
)

// podKind is the kind that writes the labels.
const podKind = "pod"

// PodLabels are the labels of the host pod of a tenant's pod by which the fence knows whether policies of the tenant
// select it. It is what the tenant's policies say, whether they could be copied or not.
func PodLabels(ctx context.Context, scope *engine.Scope, virtualPod *corev1.Pod) (map[string]string, error) {
	policies, err := policiesOf(ctx, scope, virtualPod.Namespace)
	if err != nil {
		return nil, err
	}
	return podLabels(policies, virtualPod), nil
}

func policiesOf(ctx context.Context, scope *engine.Scope, namespace string) ([]networkingv1.NetworkPolicy, error) {
	policies := &networkingv1.NetworkPolicyList{}
	if err := scope.VirtualCache.List(ctx, policies, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list network policies of %q: %w", namespace, err)
	}
	return policies.Items, nil
}

func podLabels(policies []networkingv1.NetworkPolicy, virtualPod *corev1.Pod) map[string]string {
	isSelected := map[networkingv1.PolicyType]bool{}
	for index := range policies {
		spec := &policies[index].Spec
		if matches(&spec.PodSelector, labels.Set(virtualPod.Labels)) {
			for _, policyType := range spec.PolicyTypes {
				isSelected[policyType] = true
			}
		}
	}
	return fence.PodLabels(isSelected[networkingv1.PolicyTypeIngress], isSelected[networkingv1.PolicyTypeEgress])
}

// relabel wakes the pods of a namespace whose host pods do not have the labels that they should.
func relabel(ctx context.Context, scope *engine.Scope, namespace string) error {
	policies, err := policiesOf(ctx, scope, namespace)
	if err != nil {
		return err
	}
	virtualPods, hostPods := &corev1.PodList{}, &corev1.PodList{}
	if err := scope.VirtualCache.List(ctx, virtualPods, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list pods of %q: %w", namespace, err)
	}
	if err := scope.HostCache.List(ctx, hostPods, client.InNamespace(scope.HostNamespace(namespace)), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list host pods of %q: %w", namespace, err)
	}
	hostLabels := make(map[string]map[string]string, len(hostPods.Items))
	for index := range hostPods.Items {
		hostLabels[hostPods.Items[index].Name] = hostPods.Items[index].Labels
	}
	for index := range virtualPods.Items {
		virtualPod := &virtualPods.Items[index]
		has, isOnHost := hostLabels[virtualPod.Name]
		if isOnHost && !containsAll(has, podLabels(policies, virtualPod)) {
			scope.Enqueue(podKind, engine.KeyOf(virtualPod))
		}
	}
	return nil
}

func containsAll(has, wanted map[string]string) bool {
	for key, value := range wanted {
		if has[key] != value {
			return false
		}
	}
	return true
}
