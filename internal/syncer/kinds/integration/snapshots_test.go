package integration

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/customresource"
)

const (
	snapshotGroup   = "snapshot.storage.k8s.io"
	snapshotModule  = "github.com/kubernetes-csi/external-snapshotter/client/v8"
	snapshotsName   = "volumesnapshots." + snapshotGroup
	snapshotClasses = "volumesnapshotclasses." + snapshotGroup
)

func snapshotClass(name string, labels map[string]string) *unstructured.Unstructured {
	class := ofKind(snapshotGroup+"/v1", "VolumeSnapshotClass")
	class.SetName(name)
	class.SetLabels(labels)
	class.Object["driver"], class.Object["deletionPolicy"] = "disk.example.com", "Delete"
	class.Object["parameters"] = map[string]any{"csi.storage.k8s.io/snapshotter-secret-name": "root"}
	return class
}

func snapshot(namespace, name string, source map[string]any, class string) *unstructured.Unstructured {
	object := ofKind(snapshotGroup+"/v1", "VolumeSnapshot")
	object.SetNamespace(namespace)
	object.SetName(name)
	spec := map[string]any{"source": source}
	if class != "" {
		spec["volumeSnapshotClassName"] = class
	}
	object.Object["spec"] = spec
	return object
}

func ofClaim(name string) map[string]any { return map[string]any{"persistentVolumeClaimName": name} }

func isThere(*unstructured.Unstructured) error { return nil }

func (w *customWorld) testSnapshots(t *testing.T) {
	before := w.tenant.Spec.Sync.CustomResources
	defer w.ask(before...)
	w.installUpstream(t, snapshotModule, "snapshot.storage.k8s.io_volumesnapshots.yaml")
	w.installUpstream(t, snapshotModule, "snapshot.storage.k8s.io_volumesnapshotclasses.yaml")
	w.grantReading(t, "snapshots", snapshotGroup, "volumesnapshots", "volumesnapshotclasses")
	w.grantWriting(t, "snapshots", snapshotGroup, "volumesnapshots")
	w.ask(clusterv1alpha1.CustomResource{Name: snapshotsName})
	w.awaitProblem(t, "Refused", snapshotClasses)
	w.ask(clusterv1alpha1.CustomResource{Name: snapshotsName}, clusterv1alpha1.CustomResource{Name: snapshotClasses, Direction: clusterv1alpha1.SyncFromHost})
	w.awaitNoProblem(t)

	create(t, w.host, newClass("disks"))
	create(t, w.host, snapshotClass("shown", nil))
	create(t, w.host, snapshotClass("hidden", map[string]string{mapping.LabelOffer: "false"}))
	await(t, w.virtual, client.ObjectKey{Name: "shown"}, snapshotClass("", nil), func(class *unstructured.Unstructured) error {
		return expect(field(class, "driver") == "disk.example.com" && field(class, "parameters") == nil, "class %v", class.Object)
	})
	never(t, w.virtual, client.ObjectKey{Name: "hidden"}, snapshotClass("", nil))

	db := w.namespace(t, "db")
	create(t, w.virtual, newClaim("db", "data", "disks"))
	await(t, w.host, client.ObjectKey{Namespace: db, Name: "data"}, &corev1.PersistentVolumeClaim{}, func(*corev1.PersistentVolumeClaim) error { return nil })
	create(t, w.host, newClaim(db, "foreign", "disks"))

	create(t, w.virtual, snapshotClass("hidden", nil))
	for name, test := range map[string]struct {
		source map[string]any
		class  string
		reason string
	}{
		"content":       {map[string]any{"volumeSnapshotContentName": "snapcontent-1"}, "shown", engine.ReasonNotSupported},
		"hidden-class":  {ofClaim("data"), "hidden", engine.ReasonNotSupported},
		"foreign-claim": {ofClaim("foreign"), "shown", engine.ReasonWaiting},
		"no-claim":      {ofClaim("none"), "shown", engine.ReasonWaiting},
	} {
		create(t, w.virtual, snapshot("db", name, test.source, test.class))
		w.awaitEvent(t, "db", name, test.reason)
		never(t, w.host, client.ObjectKey{Namespace: db, Name: name}, snapshot("", "", nil, ""))
	}

	create(t, w.virtual, snapshot("db", "monday", ofClaim("data"), "shown"))
	key := client.ObjectKey{Namespace: db, Name: "monday"}
	host := await(t, w.host, key, snapshot("", "", nil, ""), isThere)
	changeStatus(t, w.host, host, func(host *unstructured.Unstructured) {
		host.Object["status"] = map[string]any{"boundVolumeSnapshotContentName": "snapcontent-2", "readyToUse": true, "restoreSize": "1Gi"}
	})
	virtualKey := client.ObjectKey{Namespace: "db", Name: "monday"}
	virtual := await(t, w.virtual, virtualKey, snapshot("", "", nil, ""), func(virtual *unstructured.Unstructured) error {
		return expect(field(virtual, "status", "readyToUse") == true, "status %v", field(virtual, "status"))
	})
	w.testRestore(t, db)

	// One that vanished on the host is not taken again under the old name: it would hold other data.
	erase(t, w.host, host)
	w.awaitEvent(t, "db", "monday", customresource.ReasonSnapshotLost)
	never(t, w.host, key, snapshot("", "", nil, ""))
	await(t, w.virtual, virtualKey, virtual, func(virtual *unstructured.Unstructured) error {
		return expect(field(virtual, "status", "readyToUse") == false && field(virtual, "status", "error", "message") != nil, "status %v", field(virtual, "status"))
	})
	remove(t, w.virtual, virtual)
	awaitGone(t, w.virtual, virtualKey, snapshot("", "", nil, ""))
	// Nor does a new object of the name get what was taken for the one before, also when the agent has not seen that yet.
	w.late.IsOn.Store(true)
	defer w.late.IsOn.Store(false)
	monday := create(t, w.virtual, snapshot("db", "monday", ofClaim("data"), "shown"))
	host = await(t, w.host, key, snapshot("", "", nil, ""), isThere)
	first := host.GetUID()
	remove(t, w.virtual, monday)
	again := create(t, w.virtual, snapshot("db", "monday", ofClaim("data"), "shown"))
	await(t, w.host, key, host, func(host *unstructured.Unstructured) error {
		if host.GetUID() == first && host.GetAnnotations()[mapping.AnnotationTenantUID] == string(again.GetUID()) {
			t.Fatal("what was taken for the one before was given to the new one")
		}
		return expect(host.GetUID() != first && host.GetDeletionTimestamp() == nil, "it is the one that was taken before")
	})
}

// testRestore: a claim is filled from a snapshot of the tenant, and from no other.
func (w *customWorld) testRestore(t *testing.T, db string) {
	create(t, w.host, snapshot(db, "foreign", ofClaim("foreign"), "shown"))
	from := func(claim, source string) *corev1.PersistentVolumeClaim {
		made := newClaim("db", claim, "disks")
		made.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: pointer(snapshotGroup), Kind: "VolumeSnapshot", Name: source}
		return create(t, w.virtual, made)
	}
	from("restored", "monday")
	await(t, w.host, client.ObjectKey{Namespace: db, Name: "restored"}, &corev1.PersistentVolumeClaim{}, func(claim *corev1.PersistentVolumeClaim) error {
		if claim.Spec.DataSource == nil {
			return errors.New("it is filled from nothing")
		}
		return expect(claim.Spec.DataSource.Name == "monday", "it is filled from %q", claim.Spec.DataSource.Name)
	})
	from("stolen", "foreign")
	w.awaitEvent(t, "db", "stolen", engine.ReasonWaiting)
	never(t, w.host, client.ObjectKey{Namespace: db, Name: "stolen"}, &corev1.PersistentVolumeClaim{})
}
