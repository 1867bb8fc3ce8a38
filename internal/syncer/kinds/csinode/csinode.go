// Package csinode mirrors the CSINodes of the nodes that a virtual cluster sees: which storage drivers a node has, and how many
// of their volumes fit on it.
//
// How mirrors are kept is package mirror's business. There is one only beside a mirror of its Node. A driver knows a node by
// an ID that identifies the machine, often at a cloud; a mirror has the node's name in its place. Drivers that are not offered
// are left out.
package csinode

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/csidriver"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/mirror"
)

// Name of the kind.
const Name = "csinode"

// indexDriver finds the host's CSINodes by the drivers that they name.
const indexDriver = Name + ".driver"

// annotationMigrated names the volume plugins whose volumes a scheduler counts as those of a driver.
const annotationMigrated = "storage.alpha.kubernetes.io/migrated-plugins"

var class = mirror.Class[*storagev1.CSINode]{
	Name: Name, Empty: func() *storagev1.CSINode { return &storagev1.CSINode{} },
	Translate: translate, NeedsReplacement: needsReplacement, Repair: repair, Fit: fit,
	Also: []engine.Trigger{
		{Side: engine.Virtual, Object: &corev1.Node{}, Keys: ofNode, Ignore: sameMark},
		{Side: engine.Host, Object: &storagev1.CSIDriver{}, Unfiltered: true, Keys: withDriver, Ignore: csidriver.SameOffer},
	},
	Indexes: []engine.Index{{Side: engine.Host, Object: &storagev1.CSINode{}, Field: indexDriver, Values: driversOf}},
}

// New returns the kind.
func New() engine.Kind { return class.Kind() }

func ofNode(_ *engine.Scope, virtualNode client.Object) []engine.Key {
	return []engine.Key{{Name: virtualNode.GetName()}}
}

func sameMark(old, new client.Object) bool { return mirror.IsMirror(old) == mirror.IsMirror(new) }

func driversOf(object client.Object) []string {
	hostNode, ok := object.(*storagev1.CSINode)
	if !ok {
		return nil
	}
	var names []string
	for index := range hostNode.Spec.Drivers {
		names = append(names, hostNode.Spec.Drivers[index].Name)
	}
	return names
}

func withDriver(scope *engine.Scope, hostDriver client.Object) []engine.Key {
	list := &storagev1.CSINodeList{}
	// A failure means that the cache is not there yet; then every CSINode is looked at anyway when it comes.
	if err := scope.HostCache.List(context.Background(), list, client.MatchingFields{indexDriver: hostDriver.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	keys := make([]engine.Key, 0, len(list.Items))
	for index := range list.Items {
		keys = append(keys, engine.Key{Name: list.Items[index].Name})
	}
	return keys
}

func translate(hostNode *storagev1.CSINode) *storagev1.CSINode {
	mirrored := &storagev1.CSINode{}
	for _, driver := range hostNode.Spec.Drivers {
		driver = *driver.DeepCopy()
		driver.NodeID = hostNode.Name
		mirrored.Spec.Drivers = append(mirrored.Spec.Drivers, driver)
	}
	if migrated := hostNode.Annotations[annotationMigrated]; migrated != "" {
		mirrored.Annotations = map[string]string{annotationMigrated: migrated}
	}
	return mirrored
}

// fit shows a CSINode where its Node is shown, with the drivers that are.
func fit(ctx context.Context, scope *engine.Scope, hostNode, mirrored *storagev1.CSINode) (bool, error) {
	virtualNode, ok, err := engine.Get(ctx, scope.VirtualCache, client.ObjectKey{Name: hostNode.Name}, &corev1.Node{})
	if err != nil || !ok || !mirror.IsMirror(virtualNode) {
		return false, err
	}
	shown := mirrored.Spec.Drivers[:0]
	for _, driver := range mirrored.Spec.Drivers {
		isHidden, err := csidriver.Hides(ctx, scope, driver.Name)
		if err != nil {
			return false, err
		}
		if !isHidden {
			shown = append(shown, driver)
		}
	}
	mirrored.Spec.Drivers = shown
	return true, nil
}

// needsReplacement: of a driver that stays only the number of volumes can be changed.
func needsReplacement(have, want *storagev1.CSINode) bool {
	return slices.ContainsFunc(want.Spec.Drivers, func(wanted storagev1.CSINodeDriver) bool {
		index := slices.IndexFunc(have.Spec.Drivers, func(driver storagev1.CSINodeDriver) bool { return driver.Name == wanted.Name })
		if index < 0 {
			return false
		}
		driver := have.Spec.Drivers[index]
		driver.Allocatable = wanted.Allocatable
		return !equality.Semantic.DeepEqual(driver, wanted)
	})
}

func repair(have, want *storagev1.CSINode) {
	have.Spec = *want.Spec.DeepCopy()
	delete(have.Annotations, annotationMigrated)
	if migrated, ok := want.Annotations[annotationMigrated]; ok {
		metav1.SetMetaDataAnnotation(&have.ObjectMeta, annotationMigrated, migrated)
	}
}
