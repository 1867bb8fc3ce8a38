package controlplane_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestDiskFull: a control plane whose volume is full refuses writes, says why, and still answers what it has. When there is
// room again it goes on by itself, and whatever it acknowledged at any time is there, also after a restart.
func TestDiskFull(t *testing.T) {
	folder := smallDisk(t, "size=48m")
	c := config.ControlPlane{PKIDirectory: testenv.NewPKI(t), Store: config.Store{Type: config.StoreSQLite, Path: filepath.Join(folder, "state.db")}}
	cp, client := start(t, c)
	acknowledged := map[string]types.UID{}
	for range 20 {
		if err := writeNote(t.Context(), client, acknowledged); err != nil {
			t.Fatal(err)
		}
	}

	filler := fill(t, folder)
	var refused error
	eventually(t, "a write that is refused", func() error {
		refused = writeNote(t.Context(), client, acknowledged)
		if refused == nil {
			return errors.New("there was still room")
		}
		return nil
	})
	t.Logf("%d writes were acknowledged, then: %v", len(acknowledged), refused)
	if !strings.Contains(refused.Error(), "disk is full") || !apierrors.IsInternalError(refused) {
		t.Errorf("the error %v does not say that the disk is full", refused)
	}
	for range 20 {
		_ = writeNote(t.Context(), client, acknowledged)
	}
	if err := growNote(t.Context(), client, acknowledged); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("an update ends with %v, want that the disk is full", err)
	}
	expectNotes(t, client, acknowledged)

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a write after there is room again", func() error { return writeNote(t.Context(), client, acknowledged) })
	expectNotes(t, client, acknowledged)
	stop(t, cp)

	cp, client = start(t, c)
	defer stop(t, cp)
	expectNotes(t, client, acknowledged)
}

// smallDisk mounts a file system of that size until the test ends.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a file system, which needs root: run it with sudo")
	}
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, size); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, 0); err != nil {
			t.Errorf("unmount %s: %v", folder, err)
		}
	})
	return folder
}

// fill leaves no room on the file system of a folder, and returns the file that takes it.
func fill(t *testing.T, folder string) string {
	t.Helper()
	filler := filepath.Join(folder, "filler")
	file, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 64<<10); ; {
		n, err := file.Write(block)
		if errors.Is(err, unix.ENOSPC) && len(block) == 1 {
			return filler
		}
		if errors.Is(err, unix.ENOSPC) {
			block = make([]byte, max(1, len(block)/2))
			continue
		}
		if err != nil || n == 0 {
			t.Fatal(&fs.PathError{Op: "fill", Path: filler, Err: err})
		}
	}
}

// writeNote creates one object of 16 KiB, which cannot be compressed, and remembers it if it was acknowledged.
func writeNote(ctx context.Context, client kubernetes.Interface, acknowledged map[string]types.UID) error {
	content := make([]byte, 16<<10)
	_, _ = rand.Read(content)
	note := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "note-", Labels: map[string]string{"note": "yes"}},
		BinaryData: map[string][]byte{"note": content},
	}
	created, err := client.CoreV1().ConfigMaps("default").Create(ctx, note, metav1.CreateOptions{})
	if err == nil {
		acknowledged[created.Name] = created.UID
	}
	return err
}

// growNote makes one of the objects larger.
func growNote(ctx context.Context, client kubernetes.Interface, acknowledged map[string]types.UID) error {
	content := make([]byte, 64<<10)
	_, _ = rand.Read(content)
	for name := range acknowledged {
		note, err := client.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		note.BinaryData["more"] = content
		_, err = client.CoreV1().ConfigMaps("default").Update(ctx, note, metav1.UpdateOptions{})
		return err
	}
	return errors.New("there is no object")
}

// expectNotes compares what is stored with what was acknowledged. What was refused may be stored nevertheless.
func expectNotes(t *testing.T, client kubernetes.Interface, acknowledged map[string]types.UID) {
	t.Helper()
	list, err := client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{LabelSelector: "note=yes"})
	if err != nil {
		t.Fatalf("list what was written: %v", err)
	}
	stored := map[string]types.UID{}
	for _, note := range list.Items {
		stored[note.Name] = note.UID
	}
	for name, uid := range acknowledged {
		if stored[name] != uid {
			t.Error(fmt.Errorf("write %q was acknowledged with UID %s; stored is %q", name, uid, stored[name]))
		}
	}
}
