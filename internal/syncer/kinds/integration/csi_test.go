package integration

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// newHostNode is a node of the host with a storage driver whose ID of the machine must not reach tenants.
func newHostNode(t *testing.T, w *world, name, pool string, drivers ...string) *storagev1.CSINode {
	t.Helper()
	create(t, w.host, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pool": pool, "disk.example.com/node": name}}})
	csiNode := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, driver := range drivers {
		csiNode.Spec.Drivers = append(csiNode.Spec.Drivers, storagev1.CSINodeDriver{
			Name: driver, NodeID: "i-0123456789", TopologyKeys: []string{"disk.example.com/node"},
			Allocatable: &storagev1.VolumeNodeResources{Count: pointer(int32(8))},
		})
	}
	return create(t, w.host, csiNode)
}

func testDrivers(t *testing.T, w *world) {
	testClass(t, w, &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{AttachRequired: pointer(true), StorageCapacity: pointer(true), TokenRequests: []storagev1.TokenRequest{{Audience: "vault"}}}},
		func(driver *storagev1.CSIDriver) { driver.Spec.StorageCapacity = pointer(false) },
		func(driver *storagev1.CSIDriver) error {
			return expect(*driver.Spec.AttachRequired && *driver.Spec.StorageCapacity && driver.Spec.TokenRequests == nil, "driver is %+v", driver.Spec)
		},
		func(driver *storagev1.CSIDriver) { driver.Spec.AttachRequired = pointer(false) })
}

// testCSINodes: a node's drivers are shown beside the node and only there, without what identifies the machine.
func testCSINodes(t *testing.T, w *world) {
	hostNode := newHostNode(t, w, "csi-seen", "tenants", "disk.example.com", "secret.example.com")
	newHostNode(t, w, "csi-unseen", "others", "disk.example.com")
	own := create(t, w.virtual, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "csi-own"}})
	create(t, w.host, &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: own.Name}})
	is := func(count int32, drivers ...string) func(*storagev1.CSINode) error {
		return func(node *storagev1.CSINode) error {
			var errs []error
			for index, driver := range node.Spec.Drivers {
				errs = append(errs, expect(index < len(drivers) && driver.Name == drivers[index] && driver.NodeID == "csi-seen" &&
					driver.Allocatable != nil && *driver.Allocatable.Count == count, "driver %+v", driver))
			}
			return errors.Join(append(errs, expect(len(node.Spec.Drivers) == len(drivers) && node.Labels[mapping.LabelMirror] == "true", "it is %+v", node))...)
		}
	}
	key := client.ObjectKey{Name: "csi-seen"}
	virtual := await(t, w.virtual, key, &storagev1.CSINode{}, is(8, "disk.example.com", "secret.example.com"))

	hidden := create(t, w.host, &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "secret.example.com", Labels: map[string]string{mapping.LabelOffer: "false"}}})
	await(t, w.virtual, key, virtual, is(8, "disk.example.com"))
	change(t, w.virtual, virtual, func(node *storagev1.CSINode) { node.Spec.Drivers = nil })
	await(t, w.virtual, key, virtual, is(8, "disk.example.com"))
	change(t, w.host, hostNode, func(node *storagev1.CSINode) {
		for index := range node.Spec.Drivers {
			node.Spec.Drivers[index].Allocatable.Count = pointer(int32(2))
		}
	})
	await(t, w.virtual, key, virtual, is(2, "disk.example.com"))
	change(t, w.host, hidden, func(driver *storagev1.CSIDriver) { driver.Labels = nil })
	await(t, w.virtual, key, virtual, is(2, "disk.example.com", "secret.example.com"))

	never(t, w.virtual, client.ObjectKey{Name: "csi-unseen"}, &storagev1.CSINode{})
	never(t, w.virtual, client.ObjectKey{Name: own.Name}, &storagev1.CSINode{})
	remove(t, w.host, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "csi-seen"}})
	awaitGone(t, w.virtual, key, &storagev1.CSINode{})
}

// testCapacities: a tenant with a scheduler of its own sees the capacities for nodes and classes that it sees, and no other.
func testCapacities(t *testing.T, w *world) {
	w.setSpec(func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Scheduling = clusterv1alpha1.SchedulingTenant })
	newHostNode(t, w, "capacity-seen", "tenants")
	newHostNode(t, w, "capacity-unseen", "others")
	await(t, w.virtual, client.ObjectKey{Name: "capacity-seen"}, &corev1.Node{}, func(*corev1.Node) error { return nil })
	hiddenClass := newClass("capacity-hidden")
	hiddenClass.Labels = map[string]string{mapping.LabelOffer: "false"}
	create(t, w.host, hiddenClass)
	create(t, w.host, newClass("capacity-shown"))
	capacity := func(node, class string) *storagev1.CSIStorageCapacity {
		return create(t, w.host, &storagev1.CSIStorageCapacity{
			ObjectMeta:       metav1.ObjectMeta{Namespace: "default", GenerateName: "csisc-"},
			NodeTopology:     &metav1.LabelSelector{MatchLabels: map[string]string{"disk.example.com/node": node}},
			StorageClassName: class, Capacity: resource.NewQuantity(1<<30, resource.BinarySI),
		})
	}
	mirrorKey := func(hostCapacity *storagev1.CSIStorageCapacity) client.ObjectKey {
		return client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "csisc-" + string(hostCapacity.UID)}
	}
	unseen, hidden, noClass := capacity("capacity-unseen", "capacity-shown"), capacity("capacity-seen", "capacity-hidden"), capacity("capacity-seen", "capacity-none")
	seen := capacity("capacity-seen", "capacity-shown")
	is := func(size int64) func(*storagev1.CSIStorageCapacity) error {
		return func(have *storagev1.CSIStorageCapacity) error {
			return expect(have.Capacity != nil && have.Capacity.Value() == size && have.StorageClassName == "capacity-shown" && have.Labels[mapping.LabelMirror] == "true", "it is %+v", have)
		}
	}
	mirror := await(t, w.virtual, mirrorKey(seen), &storagev1.CSIStorageCapacity{}, is(1<<30))
	change(t, w.virtual, mirror, func(mirror *storagev1.CSIStorageCapacity) { mirror.Capacity = nil })
	await(t, w.virtual, mirrorKey(seen), mirror, is(1<<30))
	change(t, w.host, seen, func(seen *storagev1.CSIStorageCapacity) { seen.Capacity = resource.NewQuantity(5, resource.BinarySI) })
	await(t, w.virtual, mirrorKey(seen), mirror, is(5))
	for _, other := range []*storagev1.CSIStorageCapacity{unseen, hidden, noClass} {
		never(t, w.virtual, mirrorKey(other), &storagev1.CSIStorageCapacity{})
	}

	own := create(t, w.virtual, &storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "own"}, StorageClassName: "x"})
	w.setSpec(func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Scheduling = clusterv1alpha1.SchedulingHost })
	awaitGone(t, w.virtual, mirrorKey(seen), &storagev1.CSIStorageCapacity{})
	w.setSpec(func(spec *clusterv1alpha1.VirtualClusterSpec) { spec.Scheduling = clusterv1alpha1.SchedulingTenant })
	await(t, w.virtual, mirrorKey(seen), mirror, is(5))
	remove(t, w.host, seen)
	awaitGone(t, w.virtual, mirrorKey(seen), &storagev1.CSIStorageCapacity{})
	await(t, w.virtual, client.ObjectKeyFromObject(own), own, func(*storagev1.CSIStorageCapacity) error { return nil })
}
