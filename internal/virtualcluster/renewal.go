package virtualcluster

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// renewalOf names a renewal of the credentials by when it was asked for. Nil is none.
func renewalOf(at *metav1.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// reportRenewal says that the credentials have been renewed, once no pod runs that takes the old ones.
func (r *Reconciler) reportRenewal(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, made *made) error {
	renewal := made.tenant.Renewal()
	if renewal == renewalOf(vc.Status.CredentialsRenewed) || renewal != renewalOf(vc.Spec.RenewCredentials) {
		return nil
	}
	pods, err := r.allControlPods(ctx, vc)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		if pod.Annotations[annotationConfigHash] != made.configHash {
			return nil // it is looked at again when that pod goes
		}
	}
	vc.Status.CredentialsRenewed = vc.Spec.RenewCredentials.DeepCopy()
	return nil
}
