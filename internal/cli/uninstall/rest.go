package uninstall

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

var (
	namespaces = kind{resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, name: "namespaces"}
	pods       = kind{resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, name: "pods"}
)

var clusterRoles = kind{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, name: "clusterroles"}

// clusterWide are the kinds of which the chart or the agent may have left something, found by a label. Those that would judge or
// delay others' requests come first.
func clusterWide() []kind {
	admission := func(resource string) kind {
		return kind{resource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource}, name: resource}
	}
	rbac := func(resource string) kind {
		return kind{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}, name: resource}
	}
	return []kind{
		admission("validatingwebhookconfigurations"), admission("mutatingwebhookconfigurations"),
		admission("validatingadmissionpolicybindings"), admission("validatingadmissionpolicies"),
		admission("mutatingadmissionpolicybindings"), admission("mutatingadmissionpolicies"),
		rbac("clusterrolebindings"), clusterRoles,
		{resource: schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}, name: "apiservices"},
	}
}

// besideVirtualClusters is where the agent writes kubeconfigs, and by what right.
var besideVirtualClusters = []kind{
	{resource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, name: "secrets"},
	{resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}, name: "rolebindings"},
}

// selectors: the first is on what the chart makes, the other on what the agent makes for accounts.
var selectors = []string{"app.kubernetes.io/part-of=matryoshka", mapping.LabelAccount}

// endByHand ends what the agent has not: finalizers that only it takes off, and the namespaces that it would have deleted.
func (u *uninstaller) endByHand(ctx context.Context, kinds []kind) error {
	u.detail("what the agent has left")
	found, err := u.list(ctx, kinds)
	if err != nil {
		return err
	}
	for _, one := range found {
		if err := u.release(ctx, one); err != nil {
			return err
		}
	}
	owned := func(ctx context.Context) ([]object, error) {
		return u.labelled(ctx, namespaces, mapping.LabelKind+" in ("+mapping.KindSpace+","+mapping.KindMapped+","+mapping.KindControl+")")
	}
	left, err := owned(ctx)
	if err != nil {
		return err
	}
	if len(left) > 0 && !u.options.DeleteData {
		return fmt.Errorf("there are namespaces of virtual clusters and spaces still: %s; use --delete-data to delete them", summary(left))
	}
	for _, namespace := range left {
		if err := u.delete(ctx, namespace); err != nil {
			return err
		}
		if err := u.releasePods(ctx, namespace.name); err != nil {
			return err
		}
	}
	if err := u.awaitGone(ctx, owned); err != nil {
		return err
	}
	// What stands beside virtual clusters outside of spaces: the host would look for their owners in vain.
	for _, one := range besideVirtualClusters {
		if err := u.deleteLabelled(ctx, one, mapping.LabelUID); err != nil {
			return err
		}
	}
	return nil
}

// release takes the product's own finalizers off an object.
func (u *uninstaller) release(ctx context.Context, one object) error {
	before := one.content.GetFinalizers()
	kept := slices.DeleteFunc(slices.Clone(before), isOurs)
	if len(kept) == len(before) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"finalizers": kept, "resourceVersion": one.content.GetResourceVersion(),
	}})
	if err != nil {
		return fmt.Errorf("write the finalizers of %s %q: %w", one.kind.name, one, err)
	}
	_, err = u.of(one).Patch(ctx, one.name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("take the finalizers off %s %q: %w", one.kind.name, one, err)
	}
	return nil
}

func isOurs(finalizer string) bool {
	domain, _, _ := strings.Cut(finalizer, "/")
	return domain == strings.TrimPrefix(groupSuffix, ".") || strings.HasSuffix(domain, groupSuffix)
}

func (u *uninstaller) releasePods(ctx context.Context, namespace string) error {
	list, err := u.host.Resource(pods.resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods in Namespace %q: %w", namespace, err)
	}
	for index := range list.Items {
		item := &list.Items[index]
		if err := u.release(ctx, object{kind: pods, namespace: namespace, name: item.GetName(), content: item}); err != nil {
			return err
		}
	}
	return nil
}

// removeRest removes what the release did not: objects of the agent's, the definitions and the namespace.
func (u *uninstaller) removeRest(ctx context.Context, kinds []kind, roles []object) error {
	u.detail("policies and roles")
	for _, one := range clusterWide() {
		for _, selector := range selectors {
			if err := u.deleteLabelled(ctx, one, selector); err != nil {
				return err
			}
		}
	}
	u.detail("custom resource definitions")
	if err := u.removeDefinitions(ctx, kinds); err != nil {
		return err
	}
	if err := u.removeRoles(ctx, roles); err != nil {
		return err
	}
	u.detail("namespace " + install.Namespace)
	return u.removeNamespace(ctx)
}

// roles are the product's ClusterRoles.
func (u *uninstaller) roles(ctx context.Context) ([]object, error) {
	var found []object
	for _, selector := range selectors {
		some, err := u.labelled(ctx, clusterRoles, selector)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

// removeRoles removes roles by their names. The host's controller that aggregates roles may make one again, without its labels, that
// was deleted while it was at it.
func (u *uninstaller) removeRoles(ctx context.Context, roles []object) error {
	names := map[string]bool{}
	for _, role := range roles {
		names[role.name] = true
	}
	return u.awaitGone(ctx, func(ctx context.Context) ([]object, error) {
		found, err := u.labelled(ctx, clusterRoles, "")
		if err != nil {
			return nil, err
		}
		found = slices.DeleteFunc(found, func(one object) bool { return !names[one.name] })
		for _, role := range found {
			if err := u.delete(ctx, role); err != nil {
				return nil, err
			}
		}
		return found, nil
	})
}

func (u *uninstaller) labelled(ctx context.Context, one kind, selector string) ([]object, error) {
	list, err := u.host.Resource(one.resource).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if apierrors.IsNotFound(err) {
		return nil, nil // the host does not have the kind
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", one.name, err)
	}
	var found []object
	for index := range list.Items {
		item := &list.Items[index]
		found = append(found, object{kind: one, namespace: item.GetNamespace(), name: item.GetName(), content: item})
	}
	return found, nil
}

func (u *uninstaller) deleteLabelled(ctx context.Context, one kind, selector string) error {
	found, err := u.labelled(ctx, one, selector)
	if err != nil {
		return err
	}
	for _, left := range found {
		if err := u.delete(ctx, left); err != nil {
			return err
		}
	}
	return nil
}

func (u *uninstaller) removeDefinitions(ctx context.Context, kinds []kind) error {
	names := map[string]bool{}
	for _, one := range kinds {
		name := one.resource.GroupResource().String()
		names[name] = true
		err := u.host.Resource(definitions).Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete custom resource definition %q: %w", name, err)
		}
	}
	all := kind{resource: definitions, name: "custom resource definitions"}
	return u.awaitGone(ctx, func(ctx context.Context) ([]object, error) {
		found, err := u.labelled(ctx, all, "")
		return slices.DeleteFunc(found, func(one object) bool { return !names[one.name] }), err
	})
}

func (u *uninstaller) removeNamespace(ctx context.Context) error {
	found := func(ctx context.Context) ([]object, error) {
		return u.labelled(ctx, namespaces, "kubernetes.io/metadata.name="+install.Namespace)
	}
	present, err := found(ctx)
	if err != nil {
		return err
	}
	for _, one := range present {
		if err := u.delete(ctx, one); err != nil {
			return err
		}
	}
	return u.awaitGone(ctx, found)
}
