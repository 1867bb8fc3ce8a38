package virtualcluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// renewalOf names a renewal of the credentials by when it was asked for. Nil is none.
func renewalOf(at *metav1.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// renew makes the credentials anew if that is asked for. The virtual cluster is read again before: a replica whose cache is behind would
// renew for what another one has done, and has left behind.
func (r *Reconciler) renew(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, tenant *pki.Tenant, now time.Time) error {
	if !tenant.Lacks(renewalOf(vc.Spec.RenewCredentials)) {
		return nil
	}
	var current clusterv1alpha1.VirtualCluster
	if err := r.host.Get(ctx, client.ObjectKeyFromObject(vc), &current); err != nil {
		return fmt.Errorf("get VirtualCluster %q: %w", vc.Namespace+"/"+vc.Name, err)
	}
	if current.UID != vc.UID {
		return fmt.Errorf("another VirtualCluster has the name %q now", vc.Namespace+"/"+vc.Name)
	}
	return tenant.Renew(renewalOf(current.Spec.RenewCredentials), vc.Status.ID, now)
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
