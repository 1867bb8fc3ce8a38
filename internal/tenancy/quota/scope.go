package quota

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// matches tells whether a ResourceQuota counts a request, as far as its scopes decide; pod is nil where the request is not for one.
func matches(quota *corev1.ResourceQuota, pod *corev1.Pod) bool {
	if pod == nil {
		return len(quota.Spec.Scopes) == 0 && quota.Spec.ScopeSelector == nil
	}
	for _, scope := range quota.Spec.Scopes {
		if !isIn(pod, corev1.ScopedResourceSelectorRequirement{ScopeName: scope, Operator: corev1.ScopeSelectorOpExists}) {
			return false
		}
	}
	if quota.Spec.ScopeSelector == nil {
		return true
	}
	return !slices.ContainsFunc(quota.Spec.ScopeSelector.MatchExpressions, func(one corev1.ScopedResourceSelectorRequirement) bool {
		return !isIn(pod, one)
	})
}

func isIn(pod *corev1.Pod, scope corev1.ScopedResourceSelectorRequirement) bool {
	switch scope.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return pod.Spec.ActiveDeadlineSeconds != nil
	case corev1.ResourceQuotaScopeNotTerminating:
		return pod.Spec.ActiveDeadlineSeconds == nil
	case corev1.ResourceQuotaScopeBestEffort:
		return isBestEffort(pod)
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !isBestEffort(pod)
	case corev1.ResourceQuotaScopePriorityClass:
		return hasPriority(pod.Spec.PriorityClassName, scope)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return isAcrossNamespaces(pod.Spec.Affinity)
	default:
		return false
	}
}

// isBestEffort tells whether no container asks for cpu or memory.
func isBestEffort(pod *corev1.Pod) bool {
	asks := func(list corev1.ResourceList) bool {
		return !list.Cpu().IsZero() || !list.Memory().IsZero()
	}
	if own := pod.Spec.Resources; own != nil && (asks(own.Requests) || asks(own.Limits)) {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers), func(one corev1.Container) bool {
		return asks(one.Resources.Requests) || asks(one.Resources.Limits)
	})
}

func hasPriority(class string, scope corev1.ScopedResourceSelectorRequirement) bool {
	switch scope.Operator {
	case corev1.ScopeSelectorOpExists:
		return class != ""
	case corev1.ScopeSelectorOpDoesNotExist:
		return class == ""
	case corev1.ScopeSelectorOpIn:
		return class != "" && slices.Contains(scope.Values, class)
	case corev1.ScopeSelectorOpNotIn:
		return !slices.Contains(scope.Values, class)
	default:
		return false
	}
}

func isAcrossNamespaces(affinity *corev1.Affinity) bool {
	if affinity == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	add := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		terms = append(terms, required...)
		for _, one := range preferred {
			terms = append(terms, one.PodAffinityTerm)
		}
	}
	if own := affinity.PodAffinity; own != nil {
		add(own.RequiredDuringSchedulingIgnoredDuringExecution, own.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if anti := affinity.PodAntiAffinity; anti != nil {
		add(anti.RequiredDuringSchedulingIgnoredDuringExecution, anti.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return slices.ContainsFunc(terms, func(one corev1.PodAffinityTerm) bool {
		return len(one.Namespaces) > 0 || one.NamespaceSelector != nil
	})
}
