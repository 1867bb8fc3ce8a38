package engine

import (
	"log/slog"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestFootprint(t *testing.T) {
	exceeded := 0
	f := newFootprint(100, newRoom(0).enter(nil), func() { exceeded++ })
	f.add(90)
	f.add(10)
	if exceeded != 0 {
		t.Error("as much as it may be is too much")
	}
	f.add(1)
	if exceeded != 1 {
		t.Errorf("exceeded was called %d times, want 1", exceeded)
	}
	f.add(-1)
	if exceeded != 1 {
		t.Error("an object that goes is too much")
	}
}

func TestTooLargeIsTriedAgain(t *testing.T) {
	e := &Engine{log: slog.New(slog.DiscardHandler), tooLargeUntil: map[types.UID]excess{}, again: make(chan struct{}, 1)}
	e.options.MaxCached = 1 << 20
	e.tooLarge("a", e.ofOne())
	e.tooLarge("a", e.ofOne())
	if !e.isTooLarge("a") || e.isTooLarge("b") || e.Problem("a") == "" || e.Problem("b") != "" {
		t.Error("only a is too large")
	}
	if len(e.again) != 1 {
		t.Error("nobody is told to let it go")
	}
	e.tooLargeUntil["a"] = excess{until: time.Now().Add(-time.Second)}
	if e.isTooLarge("a") || e.Problem("a") != "" {
		t.Error("it is not tried again")
	}
}

func TestTooLargeIsForgottenWithTheTenant(t *testing.T) {
	e := &Engine{log: slog.New(slog.DiscardHandler), tooLargeUntil: map[types.UID]excess{}, again: make(chan struct{}, 1)}
	e.remembered = map[types.UID]int64{"a": 1, "b": 1}
	e.tooLarge("a", e.ofOne())
	e.tooLarge("b", e.ofAll())
	e.forget("a")
	if _, ok := e.tooLargeUntil["a"]; ok {
		t.Error("a tenant that is gone is still noted")
	}
	if !e.isTooLarge("b") {
		t.Error("another tenant was forgotten with it")
	}
}
