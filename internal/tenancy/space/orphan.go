package space

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// closeOrphan takes the members' rights in a namespace whose Space is gone, which is so if somebody has taken the finalizer off by
// hand: it counts against no limit any more, so nobody may go on using it. What is in it stays, for whoever runs the host.
func (r *Reconciler) closeOrphan(ctx context.Context, name string) error {
	var namespace corev1.Namespace
	if err := r.cached.Get(ctx, client.ObjectKey{Name: name}, &namespace); err != nil {
		return client.IgnoreNotFound(err)
	}
	uid := types.UID(namespace.Labels[mapping.LabelSpaceUID])
	if namespace.Labels[mapping.LabelKind] != mapping.KindSpace || uid == "" {
		return nil
	}
	ctx, leave, ok := r.options.Shards.Enter(ctx, uid)
	if !ok {
		return nil
	}
	defer leave()
	var binding rbacv1.RoleBinding
	if err := r.cached.Get(ctx, client.ObjectKey{Namespace: name, Name: membersBinding}, &binding); err != nil {
		return client.IgnoreNotFound(err)
	}
	// The watch of Spaces may be behind that of namespaces.
	var space tenancyv1alpha1.Space
	err := r.host.Get(ctx, client.ObjectKey{Name: name}, &space)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get Space %q: %w", name, err)
	}
	r.log.Warn("A namespace has lost its space; nobody may use it any more", "namespace", name)
	return r.unbind(ctx, &binding)
}
