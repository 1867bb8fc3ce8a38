package frontdoor

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// TestClosedTenant: who comes is refused, who is there is put out, and both come back when the tenant is open again.
func TestClosedTenant(t *testing.T) {
	var isClosed atomic.Bool
	var woken atomic.Int32
	d := openDoor(t, func(s *Server) {
		s.Closed = func(_ context.Context, tenant tenants.Tenant) bool { return tenant.ID == "x7k2p7q4" && isClosed.Load() }
		s.Wake = func(context.Context, tenants.Tenant) error {
			woken.Add(1)
			return nil
		}
	})
	client, backend := connect(t, d)
	isClosed.Store(true)
	for name, conn := range map[string]io.Reader{"client": client, "backend": backend} {
		if _, err := io.ReadAll(conn); err != nil && isTimeout(err) {
			t.Errorf("the %s's connection is still open", name)
		}
	}
	late := dial(t, d.address)
	if _, err := late.Write(hello(t, "x7k2p7q4.vc.matryoshka.internal")); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(late); err != nil || !bytes.Equal(answer, alert(alertAccessDenied)) {
		t.Errorf("got %x, %v, want that the access is denied", answer, err)
	}
	if woken.Load() > 0 {
		t.Error("a closed tenant was woken")
	}
	isClosed.Store(false)
	connect(t, d)
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}
