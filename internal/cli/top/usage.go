package top

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/accountquota"
)

// Usage is what an account uses.
type Usage struct {
	Account                string          `json:"account"`
	Spaces                 Count           `json:"spaces"`
	VirtualClusters        Count           `json:"virtualClusters"`
	RunningVirtualClusters Count           `json:"runningVirtualClusters"`
	Suspended              bool            `json:"suspended"`
	Resources              []ResourceUsage `json:"resources"`
}

// Count is how many there are, and may be. A nil limit is none.
type Count struct {
	Used  int32  `json:"used"`
	Limit *int32 `json:"limit,omitempty"`
}

// ResourceUsage is what is used of one line of a quota.
type ResourceUsage struct {
	Quota    string            `json:"quota"`
	Resource string            `json:"resource"`
	Used     resource.Quantity `json:"used"`
	Hard     resource.Quantity `json:"hard"`
	// Percent of hard that is used; nil where hard is nothing.
	Percent *int64 `json:"percent,omitempty"`
	// Namespaces are those that use of it, the greatest first.
	Namespaces []NamespaceShare `json:"namespaces,omitempty"`
}

// NamespaceShare is what one namespace uses.
type NamespaceShare struct {
	Namespace string            `json:"namespace"`
	Used      resource.Quantity `json:"used"`
}

// usageOf sums an account and its quotas up.
func usageOf(account *tenancyv1alpha1.Account, quotas []*tenancyv1alpha1.AccountQuota) Usage {
	spec, status := account.Spec, account.Status
	usage := Usage{
		Account:                account.Name,
		Spaces:                 Count{Used: status.Spaces, Limit: spec.Spaces.Limit},
		VirtualClusters:        Count{Used: status.VirtualClusters, Limit: spec.VirtualClusters.Limit},
		RunningVirtualClusters: Count{Used: status.RunningVirtualClusters, Limit: spec.VirtualClusters.RunningLimit},
		Suspended:              spec.Suspended,
		Resources:              []ResourceUsage{},
	}
	for _, quota := range quotas {
		if quota.Spec.Account != account.Name {
			continue
		}
		for _, name := range accountquota.Resources(quota.Spec.Quota.Hard) {
			usage.Resources = append(usage.Resources, resourceUsage(quota, name))
		}
	}
	return usage
}

func resourceUsage(quota *tenancyv1alpha1.AccountQuota, name corev1.ResourceName) ResourceUsage {
	line := ResourceUsage{Quota: quota.Name, Resource: string(name), Used: quota.Status.Used[name], Hard: quota.Spec.Quota.Hard[name]}
	if !line.Hard.IsZero() {
		line.Percent = new(int64(line.Used.AsApproximateFloat64() / line.Hard.AsApproximateFloat64() * 100))
	}
	for _, namespace := range quota.Status.Namespaces {
		if used, found := namespace.Used[name]; found && !used.IsZero() {
			line.Namespaces = append(line.Namespaces, NamespaceShare{Namespace: namespace.Namespace, Used: used})
		}
	}
	slices.SortFunc(line.Namespaces, func(a, b NamespaceShare) int {
		if order := b.Used.Cmp(a.Used); order != 0 {
			return order
		}
		return cmp.Compare(a.Namespace, b.Namespace)
	})
	return line
}
