package virtualcluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// pause leaves a virtual cluster as it is. Only its certificates are renewed: the one for the doors lives a day, and what
// runs is to keep running.
func (r *Reconciler) pause(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (reconcile.Result, error) {
	wait, err := r.keepCertificates(ctx, vc)
	return outcome(wait, errors.Join(err, r.reportPaused(ctx, vc)))
}

// keepCertificates renews the certificates of a control plane that exists. It makes no authorities: what trusts them would
// have to be restarted. Zero means that there is nothing to look after.
func (r *Reconciler) keepCertificates(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (time.Duration, error) {
	if vc.Status.ID == "" {
		return 0, nil
	}
	namespace := mapping.ControlNamespace(vc.Status.ID)
	var service corev1.Service
	var secret corev1.Secret
	for name, object := range map[string]client.Object{serviceName: &service, agentPKISecretName: &secret} {
		err := r.host.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return 0, nil // it was paused before it was complete
		}
		if err != nil {
			return 0, fmt.Errorf("get %s: %w", describe(object, r.host.Scheme()), err)
		}
		if object.GetLabels()[mapping.LabelUID] != string(vc.UID) {
			return 0, nil
		}
	}
	tenant, err := pki.ParseTenant(secret.Data)
	if err != nil {
		return 0, fmt.Errorf("read Secret %q: %w", namespace+"/"+agentPKISecretName, err)
	}
	renewAt, err := r.ensureLeafs(ctx, vc, tenant, service.Spec.ClusterIPs)
	if err != nil {
		return 0, err
	}
	kubeconfigRenewAt, err := r.ensureKubeconfig(ctx, vc, tenant)
	if err != nil {
		return 0, err
	}
	if kubeconfigRenewAt.Before(renewAt) {
		renewAt = kubeconfigRenewAt
	}
	return max(time.Second, renewAt.Sub(r.options.Clock.Now())), nil
}

// reportPaused says that nothing happens; what runs stays as it is, and so do the other conditions.
func (r *Reconciler) reportPaused(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	before := vc.DeepCopy()
	if apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady) != nil {
		return nil
	}
	setProgress(vc, reasonPaused, "The virtual cluster is paused and was never started; set spec.paused to false")
	return r.reportAndWrite(ctx, before, vc, nil)
}
