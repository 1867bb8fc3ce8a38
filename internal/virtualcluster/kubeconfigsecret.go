package virtualcluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

// foreignSecretError is a Secret of somebody else in the place of the kubeconfig Secret.
type foreignSecretError struct{ namespace, name string }

func (e *foreignSecretError) Error() string {
	return fmt.Sprintf("the Secret %q belongs to somebody else and is left alone; delete or rename it, the kubeconfig of the virtual cluster goes there",
		e.namespace+"/"+e.name)
}

// ensureKubeconfig writes the kubeconfig Secret beside the VirtualCluster and says when its certificate has to be made
// anew.
func (r *Reconciler) ensureKubeconfig(ctx context.Context, vc *clusterv1alpha1.VirtualCluster, tenant *pki.Tenant) (time.Time, error) {
	current, err := r.kubeconfigSecret(ctx, vc)
	if err != nil {
		return time.Time{}, r.untilRightsArrive(vc, err)
	}
	var content []byte
	if current != nil {
		content = current.Data[kubeconfigKey]
	}
	content, renewAt, err := kubeconfigFor(vc, tenant, content, r.options.FrontDoorAddress, r.options.Clock.Now())
	if err != nil {
		return time.Time{}, err
	}
	desired := renderKubeconfigSecret(vc, content)
	switch {
	case current == nil:
		err = r.host.Create(ctx, desired, fieldManager)
	case equalFiles(current.Data, desired.Data) && hasLabels(current, desired.Labels):
		return renewAt, nil
	default:
		desired.UID, desired.ResourceVersion = current.UID, current.ResourceVersion
		err = r.host.Update(ctx, desired, fieldManager)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("write Secret %q: %w", desired.Namespace+"/"+desired.Name, err)
	}
	return renewAt, nil
}

// kubeconfigSecret reads the virtual cluster's own Secret. Nil means that there is none.
func (r *Reconciler) kubeconfigSecret(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (*corev1.Secret, error) {
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: vc.Namespace, Name: kubeconfigSecretName(vc)}
	err := r.host.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret %q: %w", key, err)
	}
	if secret.Labels[mapping.LabelUID] != string(vc.UID) {
		return nil, &foreignSecretError{namespace: key.Namespace, name: key.Name}
	}
	return &secret, nil
}

// deleteKubeconfig removes the Secret and, after it, the right to do so. A Secret of somebody else is left alone.
func (r *Reconciler) deleteKubeconfig(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	secret, err := r.kubeconfigSecret(ctx, vc)
	switch {
	case apierrors.IsForbidden(err):
		// There is no RoleBinding (any more), so there is nothing that the agent has made. Should the host only be late,
		// the owner reference has the Secret collected.
	case isForeign(err):
	case err != nil:
		return err
	case secret != nil:
		if err := r.deleteExactly(ctx, secret); err != nil {
			return err
		}
	}
	binding := renderKubeconfigBinding(vc, r.options)
	err = r.host.Get(ctx, client.ObjectKeyFromObject(binding), binding)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get RoleBinding %q: %w", binding.Namespace+"/"+binding.Name, err)
	}
	if binding.Labels[mapping.LabelUID] != string(vc.UID) {
		return nil
	}
	return r.deleteExactly(ctx, binding)
}

// deleteExactly deletes this very object and never a successor of the same name.
func (r *Reconciler) deleteExactly(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	err := r.host.Delete(ctx, object, client.Preconditions{UID: ptr.To[types.UID](uid)})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", describe(object, r.host.Scheme()), err)
	}
	return nil
}
