package quota

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// resourceQuotaName is the name of the ResourceQuotas that an AccountQuota is held by.
func resourceQuotaName(accountQuota string) string { return mapping.ReservedPrefix + accountQuota }

// ownerLabels are the labels of a namespace that its ResourceQuotas have too: by them the sync finds them.
var ownerLabels = []string{
	mapping.LabelID, mapping.LabelUID, mapping.LabelName, mapping.LabelNamespace, mapping.LabelTenantNamespace, mapping.LabelAccount,
}

// render is the ResourceQuota with which a namespace enters the escrow: nothing.
func render(quota *tenancyv1alpha1.AccountQuota, namespace *corev1.Namespace) *corev1.ResourceQuota {
	labels := map[string]string{mapping.LabelAccountQuota: quota.Name}
	for _, key := range ownerLabels {
		if value, ok := namespace.Labels[key]; ok {
			labels[key] = value
		}
	}
	nothing := amounts{}
	for name := range quota.Spec.Quota.Hard {
		nothing[name] = 0
	}
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace.Name, Name: resourceQuotaName(quota.Name), Labels: labels,
			// With its owner the host collects it.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: tenancyv1alpha1.GroupVersion.String(), Kind: "AccountQuota", Name: quota.Name, UID: quota.UID,
			}},
		},
		Spec: corev1.ResourceQuotaSpec{
			Hard: nothing.list(), Scopes: quota.Spec.Quota.Scopes, ScopeSelector: quota.Spec.Quota.ScopeSelector,
		},
	}
}

// bounds are those of an account's quota, in units.
func bounds(quota *tenancyv1alpha1.AccountQuota) amounts {
	total := amountsOf(quota.Spec.Quota.Hard)
	for name, amount := range total {
		total[name] = min(amount, mostBound)
	}
	return total
}
