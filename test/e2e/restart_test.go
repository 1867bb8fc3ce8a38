package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// A second host beside the shared one: it is killed, started, stopped, started, broken and removed. It keeps its data as
// long as nobody asks to purge it, and leaves nothing running.
func TestHostKeepsItsDataOverKillAndDown(t *testing.T) {
	t.Parallel()
	h := extraHost(t)
	mustUp(t, h)
	ensureHostNamespace(t, h, "team")
	v := openTenant(t, h, "team", "kept", func() error {
		return h.matry(t.Context(), "create", "vc", "kept", "-n", "team", "--timeout", createTimeout.String()).err
	})
	v.apply(t, "default", testdata(t, "statefulset.yaml"))
	v.podReady(t, "default", "db-1")
	v.mustKubectl(t, "exec", "db-0", "--", "sh", "-c", "echo kept > /data/kept; sync")
	note := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "note"}, Data: map[string]string{"text": "kept"}}
	if _, err := v.client.CoreV1().ConfigMaps("default").Create(t.Context(), note, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	killHost(t, h)
	mustUp(t, h)
	v.hasKept(t)

	if err := h.down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.leftovers(); err != nil {
		t.Error(err)
	}
	seen := h.matry(t.Context(), "status")
	if !strings.Contains(seen.stdout, "Stopped") {
		t.Errorf("matry status of a stopped host prints %q", seen.stdout)
	}
	mustUp(t, h)
	v.hasKept(t)

	uninstallLeavesNothing(t, h)

	if err := h.down(t.Context()); err != nil {
		t.Fatal(err)
	}
	store := breakStore(t, h)
	if _, err := h.up(t.Context()); err == nil || !strings.Contains(err.Error(), filepath.Dir(store)) {
		t.Errorf("matry up with a broken store %s: %v; want an error that names it", store, err)
	}
	if err := h.down(t.Context(), "--purge"); err != nil {
		t.Fatal(err)
	}
	if err := h.leftovers(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.dataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("matry down --purge left %s (%v)", h.dataDir, err)
	}
}

func mustUp(t *testing.T, h *host) {
	t.Helper()
	if _, err := h.up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func killHost(t *testing.T, h *host) {
	t.Helper()
	status, err := control.GetStatus(h.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if status.PID == 0 {
		t.Fatal("the host does not run")
	}
	if err := unix.Kill(status.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func(context.Context) error {
		if err := unix.Kill(status.PID, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("process %d is still there (%w)", status.PID, err)
		}
		return nil
	})
}

// hasKept waits until the virtual cluster is back, with its objects, its pods and their volumes.
func (v *tenant) hasKept(t *testing.T) {
	t.Helper()
	eventually(t, upTimeout, func(ctx context.Context) error {
		note, err := v.client.CoreV1().ConfigMaps("default").Get(ctx, "note", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if note.Data["text"] != "kept" {
			return fmt.Errorf("the ConfigMap holds %q", note.Data)
		}
		return nil
	})
	eventually(t, upTimeout, func(ctx context.Context) error {
		seen := v.kubectl(ctx, "exec", "db-0", "--", "cat", "/data/kept")
		if seen.err == nil && seen.stdout != "kept\n" {
			return fmt.Errorf("the volume holds %q", seen.stdout)
		}
		return seen.err
	})
	answered(t, v, "default", "db-1", "db-0.db", "db-0")
}

// breakStore overwrites the host's datastore with something else, and returns its path.
func breakStore(t *testing.T, h *host) string {
	t.Helper()
	var stores []string
	err := filepath.WalkDir(h.dataDir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".db") && !strings.Contains(path, "/volumes/") && !strings.Contains(path, "/containerd/") {
			stores = append(stores, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(stores) != 1 {
		t.Fatalf("the data folder has these stores: %q; want one", stores)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(stores[0] + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(stores[0], []byte(strings.Repeat("this is no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	return stores[0]
}
