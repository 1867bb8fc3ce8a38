package virtualcluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// idAttempts bounds the search for a free ID; with 40 random bits a second attempt is already rare.
const idAttempts = 5

// reserveID finds the ID that this virtual cluster has reserved already, or reserves one by creating its control
// namespace: of two who want the same ID the API server refuses one.
func (r *Reconciler) reserveID(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) error {
	id, err := r.reservedID(ctx, vc)
	if err != nil {
		return err
	}
	var account *rules.Rules
	if id == "" {
		if account, err = spaceRules(ctx, r.host, vc); err != nil {
			return err
		}
	}
	for attempt := 0; id == "" && attempt < idAttempts; attempt++ {
		candidate := mapping.NewID()
		err := r.host.Create(ctx, renderNamespace(vc, candidate, account), fieldManager)
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("create Namespace %q: %w", mapping.ControlNamespace(candidate), err)
		}
		id = candidate
	}
	if id == "" {
		return fmt.Errorf("found no free ID in %d attempts", idAttempts)
	}
	vc.Status.ID = id
	vc.Status.ServerName = mapping.ServerName(id)
	setProgress(vc, reasonCreating, "The control plane is being made")
	return nil
}

// reservedID looks for a control namespace that an earlier attempt made before it could store the ID.
func (r *Reconciler) reservedID(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) (string, error) {
	namespaces, err := r.ownNamespaces(ctx, vc)
	if err != nil {
		return "", err
	}
	for _, namespace := range namespaces {
		if namespace.Labels[mapping.LabelKind] == mapping.KindControl && namespace.DeletionTimestamp.IsZero() {
			return namespace.Labels[mapping.LabelID], nil
		}
	}
	return "", nil
}

// ownNamespaces are the control and mapped namespaces of a virtual cluster, as the API server has them now. A label
// alone is not believed: where the admission policies are off, somebody could have put it on a namespace of the host's.
func (r *Reconciler) ownNamespaces(ctx context.Context, vc *clusterv1alpha1.VirtualCluster) ([]corev1.Namespace, error) {
	var namespaces corev1.NamespaceList
	if err := r.host.List(ctx, &namespaces, client.MatchingLabels{mapping.LabelUID: string(vc.UID)}); err != nil {
		return nil, fmt.Errorf("list the namespaces of the virtual cluster: %w", err)
	}
	return slices.DeleteFunc(namespaces.Items, func(namespace corev1.Namespace) bool { return !isOurNamespace(&namespace) }), nil
}
