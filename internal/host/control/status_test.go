package control

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTestLayout is that of a host that no other test has. Its run folder is removed at the end.
func newTestLayout(t *testing.T) Layout {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the run folder is below " + runRoot)
	}
	//nolint:usetesting // the path of a data folder must be short; that of t.TempDir has the name of the test in it
	folder, err := os.MkdirTemp("", "host")
	if err != nil {
		t.Fatal(err)
	}
	layout, err := NewLayout(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(os.RemoveAll(folder), os.RemoveAll(layout.Run())); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(layout.Run(), 0o700); err != nil {
		t.Fatal(err)
	}
	return layout
}

func TestStatusFollowsTheLock(t *testing.T) {
	layout := newTestLayout(t)
	wantState := func(want State, wantPID int) {
		t.Helper()
		status, err := GetStatus(layout.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		if status.State != want || status.PID != wantPID {
			t.Errorf("status is %s with process %d, want %s with %d", status.State, status.PID, want, wantPID)
		}
	}
	wantState(Stopped, 0)
	lock, err := layout.Lock()
	if err != nil {
		t.Fatal(err)
	}
	wantState(Starting, os.Getpid())
	if _, err := layout.Lock(); !errors.Is(err, ErrHeld) {
		t.Errorf("a second lock: %v, want ErrHeld", err)
	}
	if err := layout.WriteStatus(Status{State: Running, PID: os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	wantState(Running, os.Getpid())
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	// The file still says Running, as after a kill.
	wantState(Stopped, 0)
}

func TestStopEndsWhatBearsTheMark(t *testing.T) {
	layout := newTestLayout(t)
	own, foreign := exec.Command("sleep", "1000"), exec.Command("sleep", "1000")
	own.Env = append(os.Environ(), layout.processMark())
	foreign.Env = append(os.Environ(), layout.processMark()+"0")
	ended := make(chan error, 1)
	for _, command := range []*exec.Cmd{own, foreign} {
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
	}
	go func() { ended <- own.Wait() }()
	defer func() {
		_ = foreign.Process.Kill()
		_ = foreign.Wait()
	}()
	if err := Stop(t.Context(), layout.DataDir, false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the process with the mark goes on")
	}
	if isZombie(foreign.Process.Pid) {
		t.Error("the process of another host was ended")
	}
	if _, err := os.Stat(layout.Run()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run folder is still there: %v", err)
	}
}

func TestPurgeRemovesWhatTheHostMadeOnly(t *testing.T) {
	layout := newTestLayout(t)
	precious := filepath.Join(layout.DataDir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Stop(t.Context(), layout.DataDir, true); err == nil {
		t.Error("a folder without a lock was taken for a data folder")
	}
	if _, err := os.Stat(layout.LockFile()); err == nil {
		t.Error("a stop has made a data folder of another one")
	}
	// Somebody starts a host in a folder that holds other things.
	makeLock(t, layout)
	for _, name := range []string{"volumes/pvc-1", "datastore"} {
		if err := os.MkdirAll(layout.Data(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Stop(t.Context(), layout.DataDir, true); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(layout.DataDir)
	if err != nil || len(left) != 1 || left[0].Name() != "precious" {
		t.Fatalf("left in the folder: %v (%v), want what was there before", left, err)
	}
	if err := os.Remove(precious); err != nil {
		t.Fatal(err)
	}
	makeLock(t, layout)
	if err := Stop(t.Context(), layout.DataDir, true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(layout.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder is still there: %v", err)
	}
}

func makeLock(t *testing.T, layout Layout) {
	t.Helper()
	lock, err := layout.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStopLeavesTheAdministratorsMounts(t *testing.T) {
	layout := newTestLayout(t)
	own, admins := layout.Data("kubelet"), layout.Data("volumes")
	for _, folder := range []string{own, admins} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	}
	below := filepath.Join(own, "pods")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if err := Stop(t.Context(), layout.DataDir, false); err != nil {
		t.Fatal(err)
	}
	left, err := mountsBelow(layout.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[0] != admins {
		t.Errorf("mounts left: %v, want %s only", left, admins)
	}
	makeLock(t, layout)
	if err := Stop(t.Context(), layout.DataDir, true); err == nil || !strings.Contains(err.Error(), admins) {
		t.Errorf("purge of a data folder with a foreign mount in it: %v", err)
	}
}
