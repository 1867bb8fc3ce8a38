// Package csistoragecapacity mirrors the CSIStorageCapacities of the host into virtual clusters that have a scheduler of their
// own, which places pods with new volumes by them. The others have no use for them: they change with every volume that
// anybody makes.
//
// How mirrors are kept is package mirror's business. On the host they live in the namespaces of the drivers, which are nothing
// to tenants; a scheduler looks in all namespaces, so the mirrors are in kube-system, under names made of the host's UIDs.
// Shown are those of offered classes, for nodes that the tenant sees.
package csistoragecapacity

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/storageclass"
)

// Name of the kind.
const Name = "csistoragecapacity"

// namePrefix begins the names of mirrors.
const namePrefix = "csisc-"

const (
	// indexMirror finds host objects by the names of their mirrors, indexClass by the classes that they are about.
	indexMirror = Name + ".mirror"
	indexClass  = Name + ".class"
)

var class = mirror.Class[*storagev1.CSIStorageCapacity]{
	Name: Name, Empty: empty,
	Translate: translate, NeedsReplacement: needsReplacement, Repair: repair, Fit: fit,
	Keys: keyOf, Find: find,
	Also: []engine.Trigger{
		{Side: engine.Virtual, Object: &corev1.Node{}, Keys: all, Ignore: sameLabels},
		{Side: engine.Host, Object: &storagev1.StorageClass{}, Unfiltered: true, Keys: ofClass},
	},
	Indexes: []engine.Index{
		{Side: engine.Host, Object: empty(), Field: indexMirror, Values: func(object client.Object) []string { return []string{mirrorName(object)} }},
		{Side: engine.Host, Object: empty(), Field: indexClass, Values: classOf},
	},
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

func empty() *storagev1.CSIStorageCapacity { return &storagev1.CSIStorageCapacity{} }

func mirrorName(hostCapacity client.Object) string { return namePrefix + string(hostCapacity.GetUID()) }

func classOf(object client.Object) []string {
	hostCapacity, ok := object.(*storagev1.CSIStorageCapacity)
	if !ok {
		return nil
	}
	return []string{hostCapacity.StorageClassName}
}

func hasScheduler(scope *engine.Scope) bool {
	return scope.Tenant.Spec.Scheduling == clusterv1alpha1.SchedulingTenant
}

func keyOf(scope *engine.Scope, hostCapacity client.Object) []engine.Key {
	if !hasScheduler(scope) {
		return nil // what is left of a scheduler that was taken away is swept with what the tenant has
	}
	return []engine.Key{{Namespace: metav1.NamespaceSystem, Name: mirrorName(hostCapacity)}}
}

func all(scope *engine.Scope, _ client.Object) []engine.Key { return keys(scope) }

func ofClass(scope *engine.Scope, hostClass client.Object) []engine.Key {
	return keys(scope, client.MatchingFields{indexClass: hostClass.GetName()})
}

func keys(scope *engine.Scope, options ...client.ListOption) []engine.Key {
	if !hasScheduler(scope) {
		return nil
	}
	list := &storagev1.CSIStorageCapacityList{}
	// A failure means that the cache is not there yet; then every capacity is looked at anyway when it comes.
	if err := scope.HostCache.List(context.Background(), list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil
	}
	var found []engine.Key
	for index := range list.Items {
		found = append(found, keyOf(scope, &list.Items[index])...)
	}
	return found
}

func sameLabels(old, new client.Object) bool { return maps.Equal(old.GetLabels(), new.GetLabels()) }

func find(ctx context.Context, scope *engine.Scope, key engine.Key) (*storagev1.CSIStorageCapacity, bool, error) {
	if key.Namespace != metav1.NamespaceSystem || !hasScheduler(scope) {
		return nil, false, nil
	}
	list := &storagev1.CSIStorageCapacityList{}
	if err := scope.HostCache.List(ctx, list, client.MatchingFields{indexMirror: key.Name}); err != nil {
		return nil, false, fmt.Errorf("list host capacities of %q: %w", key, err)
	}
	if len(list.Items) == 0 {
		return nil, false, nil
	}
	return &list.Items[0], true, nil
}

func translate(hostCapacity *storagev1.CSIStorageCapacity) *storagev1.CSIStorageCapacity {
	copied := hostCapacity.DeepCopy()
	return &storagev1.CSIStorageCapacity{
		NodeTopology: copied.NodeTopology, StorageClassName: copied.StorageClassName,
		Capacity: copied.Capacity, MaximumVolumeSize: copied.MaximumVolumeSize,
	}
}

// fit shows a capacity that the tenant's scheduler can use: of a class that is there, for a node that is there.
func fit(ctx context.Context, scope *engine.Scope, hostCapacity, _ *storagev1.CSIStorageCapacity) (bool, error) {
	_, exists, err := engine.Get(ctx, scope.HostCache, client.ObjectKey{Name: hostCapacity.StorageClassName}, &storagev1.StorageClass{})
	if err != nil || !exists {
		return false, err
	}
	if isHidden, err := storageclass.Hides(ctx, scope, hostCapacity.StorageClassName); err != nil || isHidden {
		return false, err
	}
	selector, err := metav1.LabelSelectorAsSelector(hostCapacity.NodeTopology)
	if err != nil {
		return false, nil //nolint:nilerr // a selector that nobody can read selects no node
	}
	nodes := &corev1.NodeList{}
	mirrors := client.MatchingLabels{mapping.LabelMirror: "true"}
	if err := scope.VirtualCache.List(ctx, nodes, client.MatchingLabelsSelector{Selector: selector}, mirrors, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list nodes: %w", err)
	}
	return len(nodes.Items) > 0, nil
}

// needsReplacement: nothing that a tenant can change on a mirror needs it, and another host object has another mirror.
func needsReplacement(_, _ *storagev1.CSIStorageCapacity) bool { return false }

func repair(have, want *storagev1.CSIStorageCapacity) {
	have.Capacity, have.MaximumVolumeSize = want.Capacity, want.MaximumVolumeSize
}
