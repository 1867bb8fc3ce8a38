package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestLedgerKeepsTheFirstTime(t *testing.T) {
	l := NewLedger("a pod")
	l.Mark("a", noon)
	l.Mark("a", noon.Add(time.Second))
	got, err := l.WaitFor(t.Context(), "a")
	if err != nil || !got.Equal(noon) {
		t.Errorf("got %s, %v; want %s", got, err, noon)
	}
}

func TestLedgerWaits(t *testing.T) {
	l := NewLedger("a pod")
	done := make(chan error)
	go func() { done <- l.WaitForCount(t.Context(), 2) }()
	l.Mark("a", noon)
	l.Mark("a", noon)
	select {
	case err := <-done:
		t.Fatalf("it returned with one name of two: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	l.Mark("b", noon)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLedgerTellsWhatItWaitedFor(t *testing.T) {
	l := NewLedger("a host pod")
	l.Mark("a", noon)
	reason := errors.New("the watch broke")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	err := l.WaitForCount(ctx, 3)
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), "1 of 3") || !strings.Contains(err.Error(), "a host pod") {
		t.Errorf("got %v", err)
	}
	if _, err := l.WaitFor(ctx, "b"); !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
}

func TestLedgerSince(t *testing.T) {
	created, seen := NewLedger("a call"), NewLedger("a pod")
	created.Mark("a", noon)
	created.Mark("b", noon)
	seen.Mark("a", noon.Add(5*time.Millisecond))
	seen.Mark("c", noon)
	if diff := cmp.Diff(map[string]time.Duration{"a": 5 * time.Millisecond}, seen.Since(created)); diff != "" {
		t.Error(diff)
	}
}
