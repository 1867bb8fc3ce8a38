package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolume"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/persistentvolumeclaim"
)

func newClass(name string) *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: name},
		Provisioner:          "disk.example.com",
		Parameters:           map[string]string{"secret": "x"},
		AllowVolumeExpansion: pointer(true),
	}
}

func newClaim(namespace, name, class string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func newVolume(name string, policy corev1.PersistentVolumeReclaimPolicy, hostClaim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              *hostClaim.Spec.StorageClassName,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: "secret-handle"},
			},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: hostClaim.Namespace, Name: hostClaim.Name, UID: hostClaim.UID,
			},
		},
	}
}

// bind plays the host's volume controller: it makes the volume, if it is not there, and binds the claim to it.
func (w *world) bind(t *testing.T, hostKey client.ObjectKey, volume string, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolumeClaim {
	t.Helper()
	hostClaim := await(t, w.host, hostKey, &corev1.PersistentVolumeClaim{}, func(*corev1.PersistentVolumeClaim) error { return nil })
	hostVolume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: volume}}
	err := w.host.Get(t.Context(), client.ObjectKey{Name: volume}, hostVolume)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if hostVolume.UID == "" {
		hostVolume = create(t, w.host, newVolume(volume, policy, hostClaim))
	} else {
		hostVolume = change(t, w.host, hostVolume, func(hostVolume *corev1.PersistentVolume) { hostVolume.Spec.ClaimRef.UID = hostClaim.UID })
	}
	changeStatus(t, w.host, hostVolume, func(hostVolume *corev1.PersistentVolume) { hostVolume.Status.Phase = corev1.VolumeBound })
	change(t, w.host, hostClaim, func(hostClaim *corev1.PersistentVolumeClaim) {
		hostClaim.Spec.VolumeName = volume
		metav1.SetMetaDataAnnotation(&hostClaim.ObjectMeta, "pv.kubernetes.io/bind-completed", "yes")
	})
	return changeStatus(t, w.host, hostClaim, func(hostClaim *corev1.PersistentVolumeClaim) {
		hostClaim.Status.Phase = corev1.ClaimBound
		hostClaim.Status.Capacity = hostVolume.Spec.Capacity
		hostClaim.Status.AccessModes = hostVolume.Spec.AccessModes
	})
}

// release plays what the host's volume controller does when a claim is gone.
func (w *world) release(t *testing.T, volume string) {
	t.Helper()
	changeStatus(t, w.host, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: volume}}, func(hostVolume *corev1.PersistentVolume) {
		hostVolume.Status.Phase = corev1.VolumeReleased
	})
}

func inPhase(phase corev1.PersistentVolumeClaimPhase) func(*corev1.PersistentVolumeClaim) error {
	return func(claim *corev1.PersistentVolumeClaim) error {
		return expect(claim.Status.Phase == phase, "phase = %q, want %q; %+v", claim.Status.Phase, phase, claim)
	}
}

func claimExists(*corev1.PersistentVolumeClaim) error { return nil }

func testStorageClasses(t *testing.T, w *world) {
	own := create(t, w.virtual, newClass("own"))
	create(t, w.host, newClass("own"))
	hostClass := newClass("fast")
	hostClass.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	create(t, w.host, hostClass)
	isMirror := func(class *storagev1.StorageClass) error {
		return expect(len(class.Parameters) == 0 && *class.AllowVolumeExpansion && class.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" &&
			class.Labels[mapping.LabelMirror] == "true", "class = %+v", class)
	}
	mirror := await(t, w.virtual, client.ObjectKey{Name: "fast"}, &storagev1.StorageClass{}, isMirror)
	change(t, w.virtual, mirror, func(class *storagev1.StorageClass) {
		class.AllowVolumeExpansion = pointer(false)
		delete(class.Annotations, "storageclass.kubernetes.io/is-default-class")
	})
	await(t, w.virtual, client.ObjectKey{Name: "fast"}, &storagev1.StorageClass{}, isMirror)
	remove(t, w.virtual, mirror)
	await(t, w.virtual, client.ObjectKey{Name: "fast"}, &storagev1.StorageClass{}, isMirror)

	remove(t, w.host, hostClass)
	awaitGone(t, w.virtual, client.ObjectKey{Name: "fast"}, &storagev1.StorageClass{})
	after := &storagev1.StorageClass{}
	if err := w.virtual.Get(t.Context(), client.ObjectKey{Name: "own"}, after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, after); diff != "" {
		t.Errorf("the tenant's own class was changed (-before +after):\n%s", diff)
	}
}

func testClaim(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "claim")
	create(t, w.host, newClass("claim-class"))
	await(t, w.virtual, client.ObjectKey{Name: "claim-class"}, &storagev1.StorageClass{}, func(*storagev1.StorageClass) error { return nil })
	virtualClaim := create(t, w.virtual, newClaim("claim", "data", "claim-class"))
	virtualKey, hostKey := client.ObjectKeyFromObject(virtualClaim), client.ObjectKey{Namespace: hostNamespace, Name: "data"}
	hostClaim := w.bind(t, hostKey, "pvc-claim", corev1.PersistentVolumeReclaimDelete)

	bound := await(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimBound))
	if bound.Spec.VolumeName != "pvc-claim" || bound.Status.Capacity.Storage().String() != "1Gi" || bound.Annotations["pv.kubernetes.io/bind-completed"] != "yes" {
		t.Errorf("claim = %+v", bound)
	}
	mirror := await(t, w.virtual, client.ObjectKey{Name: "pvc-claim"}, &corev1.PersistentVolume{}, func(mirror *corev1.PersistentVolume) error {
		return expect(mirror.Status.Phase == corev1.VolumeBound, "phase = %q", mirror.Status.Phase)
	})
	if mirror.Spec.ClaimRef.UID != virtualClaim.UID || mirror.Spec.ClaimRef.Namespace != "claim" || mirror.Spec.CSI == nil || mirror.Spec.CSI.Driver != persistentvolume.Driver {
		t.Errorf("mirror = %+v", mirror.Spec)
	}

	change(t, w.virtual, virtualClaim, func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Gi")
	})
	await(t, w.host, hostKey, &corev1.PersistentVolumeClaim{}, func(claim *corev1.PersistentVolumeClaim) error {
		return expect(claim.Spec.Resources.Requests.Storage().String() == "2Gi", "requests = %v", claim.Spec.Resources.Requests)
	})
	changeStatus(t, w.host, hostClaim, func(claim *corev1.PersistentVolumeClaim) {
		claim.Status.Capacity[corev1.ResourceStorage] = resource.MustParse("2Gi")
		claim.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{
			Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue, Message: "in " + hostNamespace,
		}}
	})
	await(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{}, func(claim *corev1.PersistentVolumeClaim) error {
		return expect(claim.Status.Capacity.Storage().String() == "2Gi" && len(claim.Status.Conditions) == 1 && claim.Status.Conditions[0].Message == "in claim",
			"status = %+v", claim.Status)
	})

	remove(t, w.virtual, virtualClaim)
	awaitGone(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{})
	awaitGone(t, w.host, hostKey, &corev1.PersistentVolumeClaim{})
	erase(t, w.host, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-claim"}})
	awaitGone(t, w.virtual, client.ObjectKey{Name: "pvc-claim"}, &corev1.PersistentVolume{})
}

// testClaimLost: a claim and its volume vanish from the host; the tenant must learn it and never get an empty volume.
func testClaimLost(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "lost")
	create(t, w.host, newClass("lost-class"))
	virtualClaim := create(t, w.virtual, newClaim("lost", "data", "lost-class"))
	virtualKey, hostKey := client.ObjectKeyFromObject(virtualClaim), client.ObjectKey{Namespace: hostNamespace, Name: "data"}
	hostClaim := w.bind(t, hostKey, "pvc-lost", corev1.PersistentVolumeReclaimDelete)
	await(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimBound))

	erase(t, w.host, hostClaim)
	w.release(t, "pvc-lost")
	await(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimLost))
	w.awaitEvent(t, "lost", "data", persistentvolumeclaim.ReasonClaimLost)
	erase(t, w.host, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-lost"}})
	awaitGone(t, w.virtual, client.ObjectKey{Name: "pvc-lost"}, &corev1.PersistentVolume{})
	never(t, w.host, hostKey, &corev1.PersistentVolumeClaim{})

	// Another volume of the same name is not the one that was lost.
	impostor := newVolume("pvc-lost", corev1.PersistentVolumeReclaimRetain, hostClaim)
	create(t, w.host, impostor)
	never(t, w.host, hostKey, &corev1.PersistentVolumeClaim{})

	// A claim that never had a volume has lost nothing and is made again.
	virtualClaim = create(t, w.virtual, newClaim("lost", "pending", "lost-class"))
	pendingKey := client.ObjectKey{Namespace: hostNamespace, Name: "pending"}
	first := await(t, w.host, pendingKey, &corev1.PersistentVolumeClaim{}, claimExists)
	await(t, w.virtual, client.ObjectKeyFromObject(virtualClaim), &corev1.PersistentVolumeClaim{}, func(claim *corev1.PersistentVolumeClaim) error {
		return expect(claim.Annotations[mapping.AnnotationHostUID] == string(first.UID), "annotations = %v", claim.Annotations)
	})
	uid := first.UID
	erase(t, w.host, first)
	await(t, w.host, pendingKey, &corev1.PersistentVolumeClaim{}, func(claim *corev1.PersistentVolumeClaim) error {
		return expect(claim.UID != uid, "still the first")
	})
}

// testClaimRestored: only the claim vanishes; the retained volume is given back to it.
func testClaimRestored(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "restored")
	create(t, w.host, newClass("restored-class"))
	virtualClaim := create(t, w.virtual, newClaim("restored", "data", "restored-class"))
	virtualKey, hostKey := client.ObjectKeyFromObject(virtualClaim), client.ObjectKey{Namespace: hostNamespace, Name: "data"}
	hostClaim := w.bind(t, hostKey, "pvc-restored", corev1.PersistentVolumeReclaimRetain)
	await(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimBound))

	oldUID := hostClaim.UID
	erase(t, w.host, hostClaim)
	w.release(t, "pvc-restored")
	await(t, w.host, hostKey, &corev1.PersistentVolumeClaim{}, func(claim *corev1.PersistentVolumeClaim) error {
		return expect(claim.UID != oldUID && claim.Spec.VolumeName == "pvc-restored", "claim = %+v", claim.Spec)
	})
	await(t, w.host, client.ObjectKey{Name: "pvc-restored"}, &corev1.PersistentVolume{}, func(volume *corev1.PersistentVolume) error {
		return expect(volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.UID == "" && volume.Spec.ClaimRef.Name == "data", "claimRef = %+v", volume.Spec.ClaimRef)
	})
	w.bind(t, hostKey, "pvc-restored", corev1.PersistentVolumeReclaimRetain)
	await(t, w.virtual, virtualKey, &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimBound))
}

// testClaimAttacks: a tenant tries to get at volumes of others.
func testClaimAttacks(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "thieves")
	create(t, w.host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
	bank := create(t, w.host, newClaim("bank", "gold", "bank-class"))
	create(t, w.host, newVolume("pvc-bank", corev1.PersistentVolumeReclaimRetain, bank))

	byName := newClaim("thieves", "by-name", "bank-class")
	byName.Spec.VolumeName = "pvc-bank"
	byMark := newClaim("thieves", "by-mark", "bank-class")
	byMark.Spec.VolumeName = "pvc-bank"
	byMark.Annotations = map[string]string{"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
	bySelector := newClaim("thieves", "by-selector", "bank-class")
	bySelector.Spec.Selector = &metav1.LabelSelector{}
	for _, claim := range []*corev1.PersistentVolumeClaim{byName, byMark, bySelector} {
		create(t, w.virtual, claim)
		w.awaitEvent(t, "thieves", claim.Name, engine.ReasonNotSupported)
		never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: claim.Name}, &corev1.PersistentVolumeClaim{})
	}
	never(t, w.virtual, client.ObjectKey{Name: "pvc-bank"}, &corev1.PersistentVolume{})

	// A claim of the host's own in the mapped namespace, to be cloned.
	create(t, w.host, newClaim(hostNamespace, "theirs", "bank-class"))
	clone := newClaim("thieves", "clone", "bank-class")
	clone.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "theirs"}
	create(t, w.virtual, clone)
	w.awaitEvent(t, "thieves", "clone", engine.ReasonWaiting)
	never(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: "clone"}, &corev1.PersistentVolumeClaim{})

	after := &corev1.PersistentVolume{}
	if err := w.host.Get(t.Context(), client.ObjectKey{Name: "pvc-bank"}, after); err != nil || after.Spec.ClaimRef.UID != bank.UID {
		t.Errorf("the volume of the bank was touched: %v, %+v", err, after.Spec.ClaimRef)
	}
}

// testVolumeMirror: what a tenant does to a mirror is put back, and its own volumes have no effect on the host.
func testVolumeMirror(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "mirror")
	create(t, w.host, newClass("mirror-class"))
	virtualClaim := create(t, w.virtual, newClaim("mirror", "data", "mirror-class"))
	w.bind(t, client.ObjectKey{Namespace: hostNamespace, Name: "data"}, "pvc-mirror", corev1.PersistentVolumeReclaimRetain)
	key := client.ObjectKey{Name: "pvc-mirror"}
	mirror := await(t, w.virtual, key, &corev1.PersistentVolume{}, func(mirror *corev1.PersistentVolume) error {
		return expect(mirror.Status.Phase == corev1.VolumeBound && mirror.Spec.ClaimRef.UID == virtualClaim.UID, "mirror = %+v", mirror)
	})
	hostVolume := &corev1.PersistentVolume{}
	if err := w.host.Get(t.Context(), key, hostVolume); err != nil {
		t.Fatal(err)
	}
	before := mirror.DeepCopy()
	change(t, w.virtual, mirror, func(mirror *corev1.PersistentVolume) {
		mirror.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
		mirror.Spec.ClaimRef.Namespace = "elsewhere"
		mirror.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("9Ti")
	})
	await(t, w.virtual, key, &corev1.PersistentVolume{}, func(mirror *corev1.PersistentVolume) error {
		diff := cmp.Diff(before.Spec, mirror.Spec)
		return expect(diff == "", "spec (-before +now):\n%s", diff)
	})

	// Made anew with a source of the tenant's choice, it becomes the inert one again.
	erase(t, w.virtual, mirror)
	fake := before.DeepCopy()
	fake.ResourceVersion, fake.UID = "", ""
	fake.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
	if err := w.virtual.Create(t.Context(), fake); err == nil {
		t.Log("The fake came before the mirror")
	}
	await(t, w.virtual, key, &corev1.PersistentVolume{}, func(mirror *corev1.PersistentVolume) error {
		return expect(mirror.Spec.HostPath == nil && mirror.Spec.CSI != nil && mirror.Spec.CSI.Driver == persistentvolume.Driver, "source = %+v", mirror.Spec.PersistentVolumeSource)
	})

	own := newVolume("own-volume", corev1.PersistentVolumeReclaimRetain, newClaim("mirror", "other", "mirror-class"))
	own.Spec.ClaimRef = nil
	create(t, w.virtual, own)
	never(t, w.host, client.ObjectKey{Name: "own-volume"}, &corev1.PersistentVolume{})
	after := &corev1.PersistentVolume{}
	if err := w.host.Get(t.Context(), key, after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hostVolume.Spec, after.Spec); diff != "" {
		t.Errorf("the host's volume was changed (-before +after):\n%s", diff)
	}
	await(t, w.virtual, client.ObjectKeyFromObject(virtualClaim), &corev1.PersistentVolumeClaim{}, inPhase(corev1.ClaimBound))
}

// testEvents: the tenant reads the host's events about its own objects, in its own words.
func testEvents(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "events")
	labels := w.ownerLabels("events")
	await(t, w.virtual, client.ObjectKey{Namespace: "events", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	virtualPod := create(t, w.virtual, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "events", Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
	})
	hostPod := w.hostPod(t, hostNamespace, "web", "10.244.0.201", labels)
	change(t, w.host, hostPod, func(pod *corev1.Pod) {
		pod.Annotations = map[string]string{mapping.AnnotationTenantUID: string(virtualPod.UID)}
	})
	w.seen(t, hostPod)
	foreignPod := w.hostPod(t, hostNamespace, "foreign", "10.244.0.202", nil)
	report := func(name string, pod *corev1.Pod, component, message string) *corev1.Event {
		return create(t, w.host, &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: hostNamespace, Name: name},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: hostNamespace, Name: pod.Name, UID: pod.UID},
			Source:         corev1.EventSource{Component: component, Host: "node-1"}, Reason: "BackOff", Type: corev1.EventTypeWarning,
			Message: message, Count: 1, FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(),
		})
	}
	report("web.loop", hostPod, engine.FieldManager, "told already")
	report("foreign.1", foreignPod, "kubelet", "not yours")
	hostEvent := report("web.1", hostPod, "kubelet", fmt.Sprintf("back-off of %s/web, pod %s", hostNamespace, hostPod.UID))

	key := client.ObjectKey{Namespace: "events", Name: "web.1"}
	want := fmt.Sprintf("back-off of events/web, pod %s", virtualPod.UID)
	virtualEvent := await(t, w.virtual, key, &corev1.Event{}, func(event *corev1.Event) error {
		return expect(event.Message == want && event.InvolvedObject.UID == virtualPod.UID && event.Source.Component == "kubelet", "event = %+v", event)
	})
	change(t, w.host, hostEvent, func(event *corev1.Event) {
		event.Count, event.LastTimestamp = 7, metav1.NewTime(time.Now().Add(time.Second))
	})
	await(t, w.virtual, key, &corev1.Event{}, func(event *corev1.Event) error {
		return expect(event.Count == 7 && event.UID == virtualEvent.UID, "event = %+v", event)
	})
	for _, name := range []string{"web.loop", "foreign.1"} {
		never(t, w.virtual, client.ObjectKey{Namespace: "events", Name: name}, &corev1.Event{})
	}
}
