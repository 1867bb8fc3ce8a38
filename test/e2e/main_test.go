package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// shared is the host that most tests use. Tests that stop or break a host start another one.
var shared *host

func TestMain(m *testing.M) {
	code, err := withSharedHost(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// withSharedHost runs the tests between the start and the end of the host, and checks that the end leaves nothing.
func withSharedHost(run func() int) (code int, err error) {
	ctx := context.Background()
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests start an embedded host, which needs root: run them with sudo")
	}
	if err := findPrograms(); err != nil {
		return 1, err
	}
	folder, remove, err := testFolder()
	if err != nil {
		return 1, err
	}
	defer remove()

	shared, err = newHost(filepath.Join(folder, "shared"))
	if err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, shared.down(ctx, "--purge"), shared.leftovers())
	}()
	start := time.Now()
	if _, err := shared.up(ctx, "--demo"); err != nil {
		return 1, err
	}
	printStart(time.Since(start))
	return run(), nil
}

// printStart shows how long the start took, phase by phase.
func printStart(took time.Duration) {
	fmt.Printf("matry up --demo: %s\n", took.Round(100*time.Millisecond))
	status, err := control.GetStatus(shared.dataDir)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, phase := range status.Phases {
		fmt.Printf("  %-16s at %6s, took %6s\n", phase.Name, phase.At.Round(10*time.Millisecond), phase.Took.Round(10*time.Millisecond))
	}
}

// testFolder is where hosts keep their data: a folder that CI names, so that it can clean up after a crash, or a temporary
// one. Its path is short, since sockets live below it.
func testFolder() (folder string, remove func(), err error) {
	if folder := os.Getenv("MATRY_TEST_DIR"); folder != "" {
		return folder, func() {}, os.MkdirAll(folder, 0o711)
	}
	folder, err = os.MkdirTemp("", "matry-e2e.")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the data of hosts: %w", err)
	}
	// Containers of other users must pass through it to their volumes.
	if err := os.Chmod(folder, 0o711); err != nil {
		return "", nil, err
	}
	return folder, func() { _ = os.Remove(folder) }, nil
}
