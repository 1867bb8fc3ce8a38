package tenancy

import (
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// AddToScheme adds the kinds of tenancy to those that a program knows already.
func AddToScheme(known *runtime.Scheme) error {
	if err := tenancyv1alpha1.AddToScheme(known); err != nil {
		return fmt.Errorf("register the kinds of tenancy: %w", err)
	}
	return nil
}

// AddToCache adds what the controllers of tenancy read of the host: what the agent has made for accounts, nothing else.
func AddToCache(options *cache.Options, systemNamespace string) error {
	account, err := exists(mapping.LabelAccount)
	if err != nil {
		return err
	}
	slot, err := exists(mapping.LabelSlot)
	if err != nil {
		return err
	}
	kind, err := exists(mapping.LabelKind)
	if err != nil {
		return err
	}
	if options.ByObject == nil {
		options.ByObject = map[client.Object]cache.ByObject{}
	}
	for object := range options.ByObject {
		if _, ok := object.(*corev1.Namespace); ok {
			delete(options.ByObject, object)
		}
	}
	// Spaces, mapped and control namespaces.
	options.ByObject[&corev1.Namespace{}] = cache.ByObject{Label: kind}
	options.ByObject[&rbacv1.RoleBinding{}] = cache.ByObject{Label: account}
	options.ByObject[&rbacv1.ClusterRole{}] = cache.ByObject{Label: account}
	options.ByObject[&rbacv1.ClusterRoleBinding{}] = cache.ByObject{Label: account}
	options.ByObject[&coordinationv1.Lease{}] = cache.ByObject{
		Namespaces: map[string]cache.Config{systemNamespace: {LabelSelector: slot}},
	}
	return nil
}

func exists(label string) (labels.Selector, error) {
	requirement, err := labels.NewRequirement(label, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("make a label selector: %w", err)
	}
	return labels.NewSelector().Add(*requirement), nil
}
