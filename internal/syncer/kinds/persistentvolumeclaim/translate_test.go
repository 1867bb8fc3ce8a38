package persistentvolumeclaim

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

func pointer[T any](value T) *T { return &value }

func requests(size string) corev1.VolumeResourceRequirements {
	return corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}}
}

func virtualClaim(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "data", UID: "tenant-claim"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: requests("1Gi"),
			StorageClassName: pointer("fast"), VolumeMode: pointer(corev1.PersistentVolumeFilesystem),
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
	for _, change := range changes {
		change(claim)
	}
	return claim
}

func TestHostSpec(t *testing.T) {
	cases := map[string]struct {
		claim      *corev1.PersistentVolumeClaim
		volumeName string
		want       corev1.PersistentVolumeClaimSpec
		refusal    string
	}{
		"dynamic": {claim: virtualClaim(), want: virtualClaim().Spec},
		"class in the old annotation": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.StorageClassName = nil
				claim.Annotations = map[string]string{annotationStorageClass: "fast"}
			}),
			want: virtualClaim().Spec,
		},
		"default class": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = nil }),
			want:  virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = nil }).Spec,
		},
		"clone of a neighbour": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "old"}
			}),
			want: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "old"}
			}).Spec,
		},
		"back to its volume": {
			claim:      virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeName = "pvc-1" }),
			volumeName: "pvc-1",
			want:       virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeName = "pvc-1" }).Spec,
		},
		"a volume by name": {
			claim:   virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeName = "somebody-elses" }),
			refusal: "spec.volumeName",
		},
		"a volume by label": {
			claim:   virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.Selector = &metav1.LabelSelector{} }),
			refusal: "spec.selector",
		},
		"a volume made by hand": {
			claim:   virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.StorageClassName = pointer("") }),
			refusal: "spec.storageClassName",
		},
		"attributes": {
			claim:   virtualClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeAttributesClassName = pointer("gold") }),
			refusal: "spec.volumeAttributesClassName",
		},
		"a snapshot": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: pointer("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "s"}
			}),
			want: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: pointer("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "s"}
			}).Spec,
		},
		"a snapshot of another group": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: pointer("other.example.com"), Kind: "VolumeSnapshot", Name: "s"}
			}),
			refusal: "VolumeSnapshot",
		},
		"a snapshot of another namespace": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSourceRef = &corev1.TypedObjectReference{APIGroup: pointer("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "s", Namespace: pointer("bank")}
			}),
			refusal: "another namespace",
		},
		"another namespace": {
			claim: virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "old", Namespace: pointer("kube-system")}
			}),
			refusal: "another namespace",
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := hostSpec(test.claim, test.volumeName)
			refusal := (*engine.Refusal)(nil)
			if test.refusal != "" {
				if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, test.refusal) {
					t.Fatalf("error = %v, want a refusal that names %q", err, test.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("host spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVolumeControllersAreNotSteered(t *testing.T) {
	claim := virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
		claim.Annotations = map[string]string{
			annotationBindCompleted: "yes", annotationBoundBy: "yes", annotationSelectedNode: "node-1",
			"volume.kubernetes.io/storage-provisioner": "disk.example.com", annotationStorageClass: "fast", "team": "data",
		}
	})
	if diff := cmp.Diff(map[string]string{"team": "data"}, withoutSteering(claim).Annotations); diff != "" {
		t.Errorf("annotations that go down (-want +got):\n%s", diff)
	}
	if len(claim.Annotations) != 6 {
		t.Error("the tenant's claim was changed")
	}
}

func TestGrow(t *testing.T) {
	bound := func(size string) *corev1.PersistentVolumeClaim {
		return virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
			claim.Spec.Resources = requests(size)
			claim.Status.Phase = corev1.ClaimBound
		})
	}
	cases := map[string]struct {
		host, virtual *corev1.PersistentVolumeClaim
		want          string
	}{
		"larger":           {bound("1Gi"), bound("2Gi"), "2Gi"},
		"back after error": {bound("5Gi"), bound("2Gi"), "2Gi"},
		"same, other unit": {bound("1Gi"), bound("1024Mi"), "1Gi"},
		"not bound yet":    {virtualClaim(), bound("2Gi"), "1Gi"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			grow(test.host, test.virtual)
			if got := test.host.Spec.Resources.Requests.Storage().String(); got != test.want {
				t.Errorf("size = %s, want %s", got, test.want)
			}
		})
	}
}

func TestVirtualStatus(t *testing.T) {
	phase := func(phase corev1.PersistentVolumeClaimPhase) func(*corev1.PersistentVolumeClaim) {
		return func(claim *corev1.PersistentVolumeClaim) { claim.Status.Phase = phase }
	}
	capacity := func(claim *corev1.PersistentVolumeClaim) {
		claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
		claim.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "Resizing", Message: "secret"}}
		claim.Status.CurrentVolumeAttributesClassName = pointer("gold")
	}
	cases := map[string]struct {
		virtual, host *corev1.PersistentVolumeClaim
		isBound       bool
		want          corev1.PersistentVolumeClaimPhase
		wantCapacity  bool
	}{
		"pending":                         {virtualClaim(), virtualClaim(), false, corev1.ClaimPending, false},
		"bound before the mirror is":      {virtualClaim(), virtualClaim(phase(corev1.ClaimBound), capacity), false, corev1.ClaimPending, false},
		"bound":                           {virtualClaim(), virtualClaim(phase(corev1.ClaimBound), capacity), true, corev1.ClaimBound, true},
		"bound, the mirror is made again": {virtualClaim(phase(corev1.ClaimBound)), virtualClaim(phase(corev1.ClaimBound)), false, corev1.ClaimBound, false},
		"lost, being bound again":         {virtualClaim(phase(corev1.ClaimLost)), virtualClaim(), false, corev1.ClaimLost, false},
		"lost and found":                  {virtualClaim(phase(corev1.ClaimLost)), virtualClaim(phase(corev1.ClaimBound), capacity), true, corev1.ClaimBound, true},
		"a host that hesitates":           {virtualClaim(phase(corev1.ClaimBound)), virtualClaim(), false, corev1.ClaimBound, false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			got := virtualStatus(test.virtual, test.host, test.isBound, func(string) string { return "redacted" })
			if got.Phase != test.want || (len(got.Capacity) > 0) != test.wantCapacity {
				t.Errorf("status = %+v, want phase %s, capacity %v", got, test.want, test.wantCapacity)
			}
			if got.CurrentVolumeAttributesClassName != nil {
				t.Error("the host's class of volume attributes is shown")
			}
			for _, condition := range got.Conditions {
				if condition.Message != "redacted" {
					t.Errorf("message %q is the host's", condition.Message)
				}
			}
		})
	}
}

func TestMarksOfAnotherClaimDoNotCount(t *testing.T) {
	marked := func(owner string) *corev1.PersistentVolumeClaim {
		return virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
			claim.Annotations = map[string]string{
				mapping.AnnotationTenantUID: owner, mapping.AnnotationHostUID: "host-claim", AnnotationHostVolumeUID: "host-volume",
			}
		})
	}
	if !hasExisted(marked("tenant-claim")) || !wasBound(marked("tenant-claim")) {
		t.Error("a claim's own marks do not count: it would be made again, and empty")
	}
	if hasExisted(marked("earlier-claim")) {
		t.Error("a claim that a backup tool restored with the annotations of the old one would be Lost")
	}
}

func TestWasVolumeOf(t *testing.T) {
	hostVolume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", UID: "host-volume"},
		Spec:       corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{UID: "host-claim"}},
	}
	marks := func(annotations ...string) func(*corev1.PersistentVolumeClaim) {
		return func(claim *corev1.PersistentVolumeClaim) {
			claim.Annotations = map[string]string{mapping.AnnotationTenantUID: "tenant-claim"}
			for i := 0; i < len(annotations); i += 2 {
				claim.Annotations[annotations[i]] = annotations[i+1]
			}
		}
	}
	named := func(name string) func(*corev1.PersistentVolumeClaim) {
		return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeName = name }
	}
	cases := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  bool
	}{
		"same volume":                    {virtualClaim(marks(AnnotationHostVolumeUID, "host-volume")), true},
		"another volume of its name":     {virtualClaim(marks(AnnotationHostVolumeUID, "older"), named("pvc-1")), false},
		"bound while nobody looked":      {virtualClaim(marks(mapping.AnnotationHostUID, "host-claim")), true},
		"volume of an earlier claim":     {virtualClaim(marks(mapping.AnnotationHostUID, "later-claim")), false},
		"named by a new claim":           {virtualClaim(named("pvc-1")), true},
		"not named by a new claim":       {virtualClaim(), false},
		"another one named by new claim": {virtualClaim(named("pvc-2")), false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := wasVolumeOf(hostVolume, test.claim); got != test.want {
				t.Errorf("wasVolumeOf = %v, want %v", got, test.want)
			}
		})
	}
}

func TestIsRestorable(t *testing.T) {
	volume := func(policy corev1.PersistentVolumeReclaimPolicy, phase corev1.PersistentVolumePhase) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{
			Spec:   corev1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: policy},
			Status: corev1.PersistentVolumeStatus{Phase: phase},
		}
	}
	if !isRestorable(volume(corev1.PersistentVolumeReclaimRetain, corev1.VolumeReleased)) {
		t.Error("a released volume that is retained cannot be restored")
	}
	if isRestorable(volume(corev1.PersistentVolumeReclaimDelete, corev1.VolumeReleased)) {
		t.Error("a volume that the host is about to delete is given back")
	}
	going := volume(corev1.PersistentVolumeReclaimRetain, corev1.VolumeReleased)
	going.DeletionTimestamp = pointer(metav1.Now())
	if isRestorable(going) {
		t.Error("a volume that is being deleted is given back")
	}
}

func TestSelectedNode(t *testing.T) {
	chosen := virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
		claim.Annotations = map[string]string{annotationSelectedNode: "node-1"}
	})
	sent := map[string]string{annotationSelectedNode: "node-1", annotationSentNode: "node-1"}
	if diff := cmp.Diff(sent, selectedNode(clusterv1alpha1.SchedulingTenant, chosen, nil)); diff != "" {
		t.Errorf("first choice (-want +got):\n%s", diff)
	}
	if got := selectedNode(clusterv1alpha1.SchedulingHost, chosen, nil); got != nil {
		t.Errorf("with the host's scheduler a tenant sends %v", got)
	}
	rejected := virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
		claim.Annotations = map[string]string{annotationSentNode: "node-1"}
	})
	if !isNodeRejected(chosen, rejected) || selectedNode(clusterv1alpha1.SchedulingTenant, chosen, rejected) != nil {
		t.Error("a choice that the provisioner took back is sent again")
	}
	second := virtualClaim(func(claim *corev1.PersistentVolumeClaim) {
		claim.Annotations = map[string]string{annotationSelectedNode: "node-2"}
	})
	if isNodeRejected(second, rejected) {
		t.Error("a second choice counts as rejected before it was sent")
	}
}
