package persistentvolume

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func pointer[T any](value T) *T { return &value }

func hostVolume() *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: "pvc-1", UID: "host-volume", Finalizers: []string{"external-provisioner.volume.kubernetes.io/finalizer"},
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": "disk.example.com"},
			Labels:      map[string]string{"operator": "yes"},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "disk.example.com", VolumeHandle: "vol-0815", VolumeAttributes: map[string]string{"server": "10.0.0.1"},
				NodeStageSecretRef: &corev1.SecretReference{Name: "root", Namespace: "kube-system"},
			}},
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "vc-x7k2p3q4-web", Name: "data", UID: "host-claim"},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              "fast",
			MountOptions:                  []string{"password=x"},
			VolumeMode:                    pointer(corev1.PersistentVolumeFilesystem),
			VolumeAttributesClassName:     pointer("gold"),
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound, Message: "on server 10.0.0.1"},
	}
}

func TestMirrorHasNothingOfTheHostsSource(t *testing.T) {
	want := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-1",
			Labels:      map[string]string{mapping.LabelMirror: "true"},
			Annotations: map[string]string{mapping.AnnotationHostUID: "host-volume"},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: Driver, VolumeHandle: "pvc-1"}},
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "web", Name: "data", UID: "tenant-claim"},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              "fast",
			VolumeMode:                    pointer(corev1.PersistentVolumeFilesystem),
		},
	}
	got := Translate(hostVolume(), Claim{Namespace: "web", Name: "data", UID: "tenant-claim"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mirror (-want +got):\n%s", diff)
	}
	if got := status(hostVolume(), got); got.Phase != corev1.VolumeBound || got.Message != "" {
		t.Errorf("status = %+v, want the phase and no message", got)
	}
}

func TestRepair(t *testing.T) {
	want := Translate(hostVolume(), Claim{Namespace: "web", Name: "data", UID: "tenant-claim"})
	edited := want.DeepCopy()
	edited.Annotations["mine"] = "yes"
	edited.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "other", Name: "stolen"}
	edited.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	edited.Spec.MountOptions = []string{"x"}
	edited.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("9Ti")

	repaired, changed := repair(edited, want)
	if !changed {
		t.Fatal("no change was seen")
	}
	if diff := cmp.Diff(want.Spec, repaired.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if _, changed := repair(repaired, want); changed {
		t.Error("a second repair changes something")
	}
}

func TestReleasedVolumeKeepsTheUIDOfItsClaim(t *testing.T) {
	mirror := Translate(hostVolume(), Claim{Namespace: "web", Name: "data", UID: "tenant-claim"})
	want := Translate(hostVolume(), Claim{Namespace: "web", Name: "data"})
	repaired, changed := repair(mirror, want)
	if changed || repaired.Spec.ClaimRef.UID != "tenant-claim" {
		t.Errorf("changed = %v, claimRef = %+v; a volume whose claim is gone must go on naming it", changed, repaired.Spec.ClaimRef)
	}
}

func TestNeedsReplacement(t *testing.T) {
	want := Translate(hostVolume(), Claim{Namespace: "web", Name: "data"})
	cases := map[string]struct {
		change func(*corev1.PersistentVolume)
		want   bool
	}{
		"same":           {func(*corev1.PersistentVolume) {}, false},
		"size":           {func(volume *corev1.PersistentVolume) { volume.Spec.Capacity = nil }, false},
		"another volume": {func(volume *corev1.PersistentVolume) { volume.Annotations[mapping.AnnotationHostUID] = "old" }, true},
		"a source of the tenant's": {func(volume *corev1.PersistentVolume) {
			volume.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}
		}, true},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			have := want.DeepCopy()
			test.change(have)
			if got := needsReplacement(have, want); got != test.want {
				t.Errorf("needsReplacement = %v, want %v", got, test.want)
			}
		})
	}
}
