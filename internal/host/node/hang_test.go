package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHangingComponentIsFoundAndNamed(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	started := make(chan struct{})
	go func() {
		close(started)
		waitForRelease(release)
	}()
	<-started
	const here = "github.com/matryoshka-dev/matryoshka/internal/host/node.waitForRelease"
	err := pollAtMost(t.Context(), 10*time.Second, func(context.Context) bool {
		return strings.Contains(whereIs(allStacks(), here), "chan receive")
	})
	if err != nil {
		t.Fatal(err)
	}
	if where := whereIs(allStacks(), here); !strings.Contains(where, "node.waitForRelease < node.TestHangingComponentIsFoundAndNamed.func1") {
		t.Errorf("it is in %s", where)
	}
	if where := whereIs(allStacks(), "example.org/none."); where != "no goroutine" {
		t.Errorf("a package without a goroutine is in %s", where)
	}

	path := filepath.Join(t.TempDir(), "goroutines.txt")
	if err := hangs(path); !errors.Is(err, errHangs) || !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %v", err)
	}
	if stacks, err := os.ReadFile(path); err != nil || !strings.Contains(string(stacks), here) {
		t.Errorf("the stacks do not have the goroutine that waits: %v", err)
	}
}

//go:noinline
func waitForRelease(release <-chan struct{}) { <-release }

func TestPollIsBounded(t *testing.T) {
	never := func(context.Context) bool { return false }
	if err := pollAtMost(t.Context(), time.Millisecond, never); !errors.Is(err, errHangs) {
		t.Errorf("what never comes ends with %v", err)
	}
	ended, end := context.WithCancelCause(t.Context())
	end(os.ErrClosed)
	if err := pollAtMost(ended, time.Hour, never); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a start that was given up ends with %v", err)
	}
}
