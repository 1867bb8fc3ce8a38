package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own pause: with this variable set it becomes main.
const asPause = "MATRYOSHKA_TEST_PAUSE"

func TestMain(m *testing.M) {
	if os.Getenv(asPause) == "" {
		os.Exit(m.Run())
	}
	os.Args = os.Args[:1]
	main()
	os.Exit(0)
}

func TestReapsChildrenAndEndsOnSignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			pause := startWithChild(t)
			if err := pause.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := pause.Wait(); err != nil {
				t.Fatalf("pause after %s: %v, want exit code 0", signal, err)
			}
		})
	}
}

// startWithChild starts pause with a child that it did not start itself, as in a pod that shares its process
// namespace, and returns when the child has ended and was reaped.
func startWithChild(t *testing.T) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	script := `sh -c 'echo $$ > "$1/child"; while [ ! -e "$1/end" ]; do sleep 0.05; done' child "$1" & exec "$2"`
	pause := exec.Command("sh", "-c", script, "sh", dir, os.Args[0])
	pause.Env = append(os.Environ(), asPause+"=1")
	if err := pause.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pause.Process.Kill(); _ = pause.Wait() })

	var child int
	eventually(t, "the child writes its process ID", func() bool {
		text, err := os.ReadFile(dir + "/child")
		if err != nil {
			return false
		}
		child, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	if err := os.WriteFile(dir+"/end", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child is gone, not a zombie", func() bool {
		return errors.Is(syscall.Kill(child, 0), syscall.ESRCH)
	})
	return pause
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("waited 10 s until %s", what)
		case <-tick.C:
		}
	}
}
