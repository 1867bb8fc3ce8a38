package storage

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func testClaim() *corev1.PersistentVolumeClaim {
	class := ClassName
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data", UID: "0123"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func TestVolumeIsMadeAndRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "volumes")
	client := fake.NewClientset()
	provisioner, err := New(client, folder, "node", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- provisioner.Run(ctx, func() error { close(ready); return nil }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-ready
	if _, err := client.CoreV1().PersistentVolumeClaims("default").Create(ctx, testClaim(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var volume *corev1.PersistentVolume
	eventually(t, "the volume is there", func() bool {
		volume, err = client.CoreV1().PersistentVolumes().Get(ctx, "pvc-0123", metav1.GetOptions{})
		return err == nil
	})
	path := volume.Spec.Local.Path
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("folder of all volumes: %v, %v", info, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Fatalf("folder of the volume: %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(path, "file"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Bound is not released: the data stays.
	volume.Status.Phase = corev1.VolumeBound
	if volume, err = client.CoreV1().PersistentVolumes().UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	volume.Status.Phase = corev1.VolumeReleased
	if _, err := client.CoreV1().PersistentVolumes().UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the folder is gone", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, os.ErrNotExist)
	})
	eventually(t, "the volume is gone", func() bool {
		_, err := client.CoreV1().PersistentVolumes().Get(ctx, "pvc-0123", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

// A host must start whatever an administrator has made of the class, of which most fields cannot be changed.
func TestClassOfAnAdministratorStays(t *testing.T) {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	client := fake.NewClientset(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: ClassName}, Provisioner: "others", VolumeBindingMode: &mode,
	})
	provisioner, err := New(client, t.TempDir(), "node", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := provisioner.ensureClass(t.Context()); err != nil {
		t.Fatal(err)
	}
	class, err := client.StorageV1().StorageClasses().Get(t.Context(), ClassName, metav1.GetOptions{})
	if err != nil || class.Provisioner != "others" {
		t.Errorf("the class is %v (%v)", class, err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

func TestOnlyOwnVolumesAreReclaimed(t *testing.T) {
	volume := func(change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		v := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pvc-1", Annotations: map[string]string{provisionedBy: provisionerName}, Finalizers: []string{finalizer}},
			Spec: corev1.PersistentVolumeSpec{
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
				PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/volumes/pvc-1"}},
			},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeReleased},
		}
		change(v)
		return v
	}
	deleted := metav1.Now()
	for name, c := range map[string]struct {
		change func(*corev1.PersistentVolume)
		want   bool
	}{
		"released":         {func(*corev1.PersistentVolume) {}, true},
		"bound":            {func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }, false},
		"another's":        {func(v *corev1.PersistentVolume) { v.Annotations[provisionedBy] = "other" }, false},
		"path elsewhere":   {func(v *corev1.PersistentVolume) { v.Spec.Local.Path = "/etc" }, false},
		"path of another":  {func(v *corev1.PersistentVolume) { v.Spec.Local.Path = "/volumes/pvc-2" }, false},
		"path that climbs": {func(v *corev1.PersistentVolume) { v.Spec.Local.Path = "/volumes/pvc-1/../../etc" }, false},
		"retained": {func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, false},
		"deleted by hand": {func(v *corev1.PersistentVolume) {
			v.DeletionTimestamp, v.Status.Phase = &deleted, corev1.VolumeAvailable
		}, true},
		"deleted while in use": {func(v *corev1.PersistentVolume) {
			v.DeletionTimestamp, v.Status.Phase = &deleted, corev1.VolumeBound
			v.Finalizers = append(v.Finalizers, "kubernetes.io/pv-protection")
		}, false},
	} {
		v := volume(c.change)
		if got := isOurs(v, "/volumes") && isReclaimable(v); got != c.want {
			t.Errorf("%s: reclaimed: %v, want %v", name, got, c.want)
		}
	}
}

func TestWhatFoldersCannotGiveIsNamed(t *testing.T) {
	block := corev1.PersistentVolumeBlock
	for name, change := range map[string]func(*corev1.PersistentVolumeClaim){
		"spec.volumeMode": func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block },
		"spec.selector":   func(c *corev1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} },
		"spec.dataSource": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot"}
		},
		"spec.dataSourceRef": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "VolumeSnapshot"}
		},
	} {
		claim := testClaim()
		if reason := unsupported(claim); reason != "" {
			t.Errorf("a plain claim: %s", reason)
		}
		change(claim)
		if reason := unsupported(claim); len(reason) < len(name) || reason[:len(name)] != name {
			t.Errorf("%s: reason %q", name, reason)
		}
	}
}
