package tenantlimit

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestAcquire(t *testing.T) {
	l := New(Allowance{Rate: 0.001, Burst: 10, Running: 1, Waiting: 1})
	release, ok := l.Acquire(t.Context(), "a", 4)
	if !ok {
		t.Fatal("the first was refused")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := l.Acquire(over, "a", 1); ok {
		t.Error("two run at a time")
	}
	if second, ok := l.Acquire(over, "b", 1); ok {
		second()
	} else if other, ok := l.Acquire(t.Context(), "b", 1); !ok {
		t.Error("one tenant keeps another from asking")
	} else {
		other()
	}
	release()
	again, ok := l.Acquire(t.Context(), "a", 5)
	if !ok {
		t.Fatal("the turn was not given back")
	}
	again()
	// It would take minutes, which the context has not.
	soon, stop := context.WithTimeout(t.Context(), 50_000_000)
	defer stop()
	if _, ok := l.Acquire(soon, "a", 10); ok {
		t.Error("more than the burst was let through")
	}
}

func TestTableIsBounded(t *testing.T) {
	l := New(Allowance{Rate: 1, Burst: 1, Running: 1, Waiting: 1})
	for i := range rememberedTenants + 10 {
		release, ok := l.Acquire(t.Context(), types.UID(fmt.Sprint(i)), 1)
		if !ok {
			t.Fatal("refused")
		}
		release()
	}
	if len(l.byTenant) > rememberedTenants {
		t.Errorf("%d tenants are remembered", len(l.byTenant))
	}
}
