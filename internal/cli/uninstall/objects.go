package uninstall

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// groupSuffix ends the API groups of the product.
const groupSuffix = ".matryoshka.dev"

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// kind is a resource of the product's.
type kind struct {
	resource schema.GroupVersionResource
	// name is what people call several of them.
	name string
}

// object is one of a kind.
type object struct {
	kind            kind
	namespace, name string
	content         *unstructured.Unstructured
}

// String is how people write it.
func (o object) String() string {
	if o.namespace == "" {
		return o.name
	}
	return o.namespace + "/" + o.name
}

// kinds are those that the host serves; whoever installed what version, what is found is what is removed.
func (u *uninstaller) kinds(ctx context.Context) ([]kind, error) {
	list, err := u.host.Resource(definitions).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the custom resource definitions: %w", err)
	}
	var found []kind
	for index := range list.Items {
		group, _, _ := unstructured.NestedString(list.Items[index].Object, "spec", "group")
		plural, _, _ := unstructured.NestedString(list.Items[index].Object, "spec", "names", "plural")
		versions, _, _ := unstructured.NestedSlice(list.Items[index].Object, "spec", "versions")
		if version := servedVersion(versions); strings.HasSuffix(group, groupSuffix) && version != "" {
			found = append(found, kind{resource: schema.GroupVersionResource{Group: group, Version: version, Resource: plural}, name: plural})
		}
	}
	return found, nil
}

func servedVersion(versions []any) string {
	for _, version := range versions {
		fields, _ := version.(map[string]any)
		name, _ := fields["name"].(string)
		if fields["served"] == true {
			return name
		}
	}
	return ""
}

// holdWork are the kinds whose objects hold what people have made; the others are settings.
var holdWork = []string{"virtualclusters", "spaces"}

func split(kinds []kind) (work, settings []kind) {
	for _, one := range kinds {
		if slices.Contains(holdWork, one.name) {
			work = append(work, one)
		} else {
			settings = append(settings, one)
		}
	}
	return work, settings
}

func (u *uninstaller) list(ctx context.Context, kinds []kind) ([]object, error) {
	var found []object
	for _, one := range kinds {
		list, err := u.host.Resource(one.resource).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue // its definition is gone, and all of them with it
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", one.resource.GroupResource(), err)
		}
		for index := range list.Items {
			item := &list.Items[index]
			found = append(found, object{kind: one, namespace: item.GetNamespace(), name: item.GetName(), content: item})
		}
	}
	return found, nil
}

func (u *uninstaller) deleteAll(ctx context.Context, kinds []kind) error {
	found, err := u.list(ctx, kinds)
	if err != nil {
		return err
	}
	for _, one := range found {
		if err := u.delete(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (u *uninstaller) delete(ctx context.Context, one object) error {
	if one.content.GetDeletionTimestamp() != nil {
		return nil
	}
	background := metav1.DeletePropagationBackground
	err := u.of(one).Delete(ctx, one.name, metav1.DeleteOptions{PropagationPolicy: &background})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %q: %w", one.kind.name, one, err)
	}
	return nil
}

func (u *uninstaller) of(one object) dynamic.ResourceInterface {
	if one.namespace == "" {
		return u.host.Resource(one.kind.resource)
	}
	return u.host.Resource(one.kind.resource).Namespace(one.namespace)
}
