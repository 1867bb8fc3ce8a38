// Package namespace keeps the mapped namespaces of a virtual cluster in step with the tenant's namespaces: it has them
// made, copies labels in hashed form and deletes them when the tenant's namespace is gone.
//
// How a mapped namespace looks is package namespaces' business. Invariants: a mapped namespace is deleted only after the
// tenant's API server said that the tenant's namespace is gone, so what is in it was deleted first, pods with their
// grace; no label of a tenant is a label that the host acts on.
package namespace

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostranges"
)

// New makes the kind. ensurer is the one that the engine uses, and ranges the one that the ensurer uses: the kind makes
// them look again when a fence, or what it keeps out, was changed.
func New(ensurer engine.NamespaceEnsurer, ranges *hostranges.Source) engine.Kind {
	k := kind{ensurer: ensurer, ranges: ranges}
	return engine.Kind{
		Name: "namespace", Object: &corev1.Namespace{}, Lane: engine.LaneFirst,
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: &corev1.Namespace{}},
			{Side: engine.Host, Object: &corev1.Namespace{}, Keys: keys},
			{Side: engine.Host, Object: &networkingv1.NetworkPolicy{}, Keys: k.fenceKeys},
			{Side: engine.Host, Object: &rbacv1.RoleBinding{}, Keys: k.fenceKeys},
			{Side: engine.Host, Object: &corev1.Node{}, Unfiltered: true, Keys: k.rangesChanged, Ignore: hostranges.SameNode},
		},
		Reconcile: k.reconcile,
	}
}

type kind struct {
	ensurer engine.NamespaceEnsurer
	ranges  *hostranges.Source
}

// keys maps a mapped namespace, or what is in it, to the tenant's namespace.
func keys(_ *engine.Scope, hostObject client.Object) []engine.Key {
	name := hostObject.GetLabels()[mapping.LabelTenantNamespace]
	if name == "" {
		return nil // the control namespace
	}
	return []engine.Key{{Name: name}}
}

// fenceKeys looks again at a namespace whose fence changed, and makes sure that it is looked at live. What is in the
// namespace beside the fence, such as the tenant's own policies, has names that are not reserved.
func (k kind) fenceKeys(scope *engine.Scope, hostObject client.Object) []engine.Key {
	if !mapping.IsReserved(hostObject.GetName()) {
		return nil
	}
	found := keys(scope, hostObject)
	if len(found) > 0 {
		k.ensurer.Forget(hostObject.GetNamespace())
	}
	return found
}

// rangesChanged looks again at all namespaces, whose fences name the host's addresses.
func (k kind) rangesChanged(scope *engine.Scope, _ client.Object) []engine.Key {
	k.ranges.Expire()
	virtualNamespaces := &corev1.NamespaceList{}
	// A cache that is not filled yet has no namespaces: they come by themselves when it is.
	if err := scope.VirtualCache.List(context.Background(), virtualNamespaces, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var found []engine.Key
	for index := range virtualNamespaces.Items {
		found = append(found, engine.KeyOf(&virtualNamespaces.Items[index]))
	}
	return found
}

func (k kind) reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	virtualNamespace := &corev1.Namespace{}
	err := scope.VirtualCache.Get(ctx, key.NamespacedName(), virtualNamespace)
	if apierrors.IsNotFound(err) {
		return engine.Result{}, k.remove(ctx, scope, key)
	}
	if err != nil {
		return engine.Result{}, fmt.Errorf("get namespace %q: %w", key.Name, err)
	}
	if virtualNamespace.DeletionTimestamp != nil {
		// Its contents, pods above all, still need the mapped namespace.
		return engine.Result{}, nil
	}
	if err := k.check(ctx, scope, key); err != nil {
		return engine.Result{}, err
	}
	name, err := scope.EnsureNamespace(ctx, key.Name)
	if err != nil {
		return engine.Result{}, err
	}
	return engine.Result{}, k.label(ctx, scope, name, virtualNamespace)
}

// check makes Ensure look live when the cache shows a mapped namespace that is not as it was made, or none.
func (k kind) check(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	hostNamespace := &corev1.Namespace{}
	name := scope.HostNamespace(key.Name)
	err := scope.HostCache.Get(ctx, client.ObjectKey{Name: name}, hostNamespace)
	switch {
	case apierrors.IsNotFound(err):
		k.ensurer.Forget(name)
	case err != nil:
		return fmt.Errorf("get host namespace of %q: %w", key.Name, err)
	case hostNamespace.DeletionTimestamp != nil || hostNamespace.Labels["pod-security.kubernetes.io/enforce"] != podSecurity(scope):
		k.ensurer.Forget(name)
	}
	return nil
}

func podSecurity(scope *engine.Scope) string {
	if scope.Tenant.Spec.PodSecurity == "" {
		return "baseline"
	}
	return string(scope.Tenant.Spec.PodSecurity)
}

// label writes the tenant's labels in hashed form. Ensure's own labels are left alone.
func (k kind) label(ctx context.Context, scope *engine.Scope, name string, virtualNamespace *corev1.Namespace) error {
	hostNamespace := &corev1.Namespace{}
	err := scope.HostCache.Get(ctx, client.ObjectKey{Name: name}, hostNamespace)
	if apierrors.IsNotFound(err) {
		return nil // just made; its event brings the key again
	}
	if err != nil {
		return fmt.Errorf("get host namespace of %q: %w", virtualNamespace.Name, err)
	}
	_, err = engine.UpdateHost(ctx, scope, hostNamespace, func(hostNamespace *corev1.Namespace) {
		maps.DeleteFunc(hostNamespace.Labels, func(label, _ string) bool { return strings.HasPrefix(label, mapping.NamespaceLabelPrefix) })
		for label, value := range virtualNamespace.Labels {
			hostNamespace.Labels[mapping.HostNamespaceLabel(label)] = value
		}
		if hostNamespace.Annotations == nil {
			hostNamespace.Annotations = map[string]string{}
		}
		hostNamespace.Annotations[mapping.AnnotationTenantUID] = string(virtualNamespace.UID)
	})
	return err
}

// remove deletes a mapped namespace whose tenant namespace is gone. The address door may have made it for a namespace
// that the cache does not show yet, so the tenant's API server is asked.
func (k kind) remove(ctx context.Context, scope *engine.Scope, key engine.Key) error {
	name := scope.HostNamespace(key.Name)
	hostNamespace := &corev1.Namespace{}
	err := scope.HostCache.Get(ctx, client.ObjectKey{Name: name}, hostNamespace)
	if apierrors.IsNotFound(err) || err == nil && hostNamespace.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get host namespace of %q: %w", key.Name, err)
	}
	live := engine.MetadataOnly(&corev1.Namespace{})
	err = scope.VirtualClient.Get(ctx, types.NamespacedName{Name: key.Name}, live)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get namespace %q: %w", key.Name, err)
	}
	k.ensurer.Forget(name)
	return scope.DeleteHost(ctx, hostNamespace, client.PropagationPolicy(metav1.DeletePropagationBackground))
}
