package frontdoor

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const sleeper = "sleep777"

// bedroom is a front door with a tenant that sleeps.
type bedroom struct {
	*door
	server   *Server
	registry *tenants.Registry
	asked    chan struct{}
	active   atomic.Int32
}

func openBedroom(t *testing.T, change func(*Server, *tenants.Tenant)) *bedroom {
	t.Helper()
	b := &bedroom{asked: make(chan struct{}, 1024)}
	b.door = openDoor(t, func(server *Server) {
		tenant := tenants.Tenant{ID: sleeper, UID: "s", Namespace: "demo", Name: "sleeper", Asleep: true, SleepEpoch: 1}
		server.Wake = func(context.Context, tenants.Tenant) error {
			b.asked <- struct{}{}
			return nil
		}
		server.Active = func(tenants.Tenant) { b.active.Add(1) }
		if change != nil {
			change(server, &tenant)
		}
		server.Registry.Set(tenant)
		b.server, b.registry = server, server.Registry
	})
	return b
}

// set changes the sleeping tenant.
func (b *bedroom) set(change func(*tenants.Tenant)) {
	tenant, _ := b.registry.ByUID("s")
	change(&tenant)
	b.registry.Set(tenant)
}

func (b *bedroom) awaitAsked(t *testing.T) {
	t.Helper()
	select {
	case <-b.asked:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was asked to wake the tenant")
	}
}

// knock sends a ClientHello for the sleeping tenant.
func (b *bedroom) knock(t *testing.T) (conn net.Conn, greeting []byte) {
	t.Helper()
	conn, greeting = dial(t, b.address), hello(t, sleeper+".vc.matryoshka.internal")
	if _, err := conn.Write(greeting); err != nil {
		t.Fatal(err)
	}
	return conn, greeting
}

// answer is the first byte of what a client gets: the type of a TLS record, and of an alert its description.
func answer(t *testing.T, conn net.Conn) (kind, description byte) {
	t.Helper()
	record := make([]byte, 7)
	if _, err := io.ReadFull(conn, record); err != nil {
		t.Fatalf("read an answer: %v", err)
	}
	return record[0], record[6]
}

// TestConnectionIsHeldWhileTheTenantWakes: it is served, not refused, with everything that the client has sent.
func TestConnectionIsHeldWhileTheTenantWakes(t *testing.T) {
	b := openBedroom(t, nil)
	conn, greeting := b.knock(t)
	b.awaitAsked(t)
	if b.active.Load() != 0 {
		t.Error("a connection that waits counts as activity")
	}
	if _, err := conn.Write([]byte("impatient")); err != nil {
		t.Fatal(err)
	}
	b.set(func(tenant *tenants.Tenant) { tenant.Asleep, tenant.Waking = false, true })
	b.set(func(tenant *tenants.Tenant) { tenant.Ready = true })
	backend, err := b.backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	got := make([]byte, len(greeting)+len("impatient"))
	if _, err := io.ReadFull(backend, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(greeting)+"impatient" {
		t.Error("the control plane did not get what the client had sent")
	}
	if _, err := backend.Write([]byte("welcome")); err != nil {
		t.Fatal(err)
	}
	welcome := make([]byte, 7)
	if _, err := io.ReadFull(conn, welcome); err != nil || string(welcome) != "welcome" {
		t.Errorf("the client got %q: %v", welcome, err)
	}
	if b.active.Load() == 0 {
		t.Error("a connection that is served is no activity")
	}
}

// TestDialsAgainWhoHasJustWoken: the way to a control plane is open on one node before it is on another.
func TestDialsAgainWhoHasJustWoken(t *testing.T) {
	var tries atomic.Int32
	b := openBedroom(t, func(server *Server, _ *tenants.Tenant) {
		reach := server.Dial
		server.Dial = func(ctx context.Context, tenant tenants.Tenant) (net.Conn, error) {
			if tries.Add(1) < 3 {
				return nil, errors.New("connection refused")
			}
			return reach(ctx, tenant)
		}
	})
	b.knock(t)
	b.awaitAsked(t)
	b.set(func(tenant *tenants.Tenant) { tenant.Asleep, tenant.Ready = false, true })
	backend, err := b.backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	backend.Close()
}

// TestForceJustTakenOff: who takes the force off and connects at once is not refused because the door has not heard of it.
func TestForceJustTakenOff(t *testing.T) {
	b := openBedroom(t, func(_ *Server, tenant *tenants.Tenant) {
		tenant.Spec.Sleep = &tenancyv1alpha1.Sleep{Force: tenancyv1alpha1.ForceAsleep}
	})
	b.knock(t)
	b.set(func(tenant *tenants.Tenant) { tenant.Spec.Sleep = nil })
	b.awaitAsked(t)
	b.set(func(tenant *tenants.Tenant) { tenant.Asleep, tenant.Ready = false, true })
	backend, err := b.backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	backend.Close()
}

func TestRefusedInTheirSleep(t *testing.T) {
	cases := map[string]struct {
		change func(*Server, *tenants.Tenant)
		then   func(*bedroom)
		want   byte
		asks   bool
	}{
		"Forced": {change: func(_ *Server, tenant *tenants.Tenant) {
			tenant.Spec.Sleep = &tenancyv1alpha1.Sleep{Force: tenancyv1alpha1.ForceAsleep}
		}, want: alertAccessDenied},
		"Paused": {change: func(_ *Server, tenant *tenants.Tenant) { tenant.Spec.Paused = true }, want: alertAccessDenied},
		"NotInTime": {
			change: func(server *Server, _ *tenants.Tenant) { server.HoldTimeout = 50 * time.Millisecond },
			want:   alertInternalError, asks: true,
		},
		"ForcedMeanwhile": {then: func(b *bedroom) {
			b.set(func(tenant *tenants.Tenant) {
				tenant.Spec.Sleep = &tenancyv1alpha1.Sleep{Force: tenancyv1alpha1.ForceAsleep}
			})
		}, want: alertAccessDenied, asks: true},
		"DeletedMeanwhile": {then: func(b *bedroom) { b.registry.Delete("s") }, want: alertInternalError, asks: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := openBedroom(t, tc.change)
			conn, _ := b.knock(t)
			if tc.asks {
				b.awaitAsked(t)
			}
			if tc.then != nil {
				tc.then(b)
			}
			if kind, description := answer(t, conn); kind != 21 || description != tc.want {
				t.Errorf("got record %d with %d, want the alert %d", kind, description, tc.want)
			}
			if !tc.asks && len(b.asked) > 0 {
				t.Error("somebody was asked to wake the tenant")
			}
		})
	}
}

// TestHeldConnectionsAreBounded: those who wait for one tenant are counted, and leave the count when they go.
func TestHeldConnectionsAreBounded(t *testing.T) {
	b := openBedroom(t, nil)
	var waiting []net.Conn
	for range defaultMaxHeldPerTenant {
		conn, _ := b.knock(t)
		b.awaitAsked(t)
		waiting = append(waiting, conn)
	}
	conn, _ := b.knock(t)
	if kind, description := answer(t, conn); kind != 21 || description != alertInternalError {
		t.Errorf("one too many got record %d with %d, want an alert", kind, description)
	}
	waiting[0].Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, _ := b.knock(t)
		select {
		case <-b.asked:
			return
		case <-time.After(50 * time.Millisecond):
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the place of one who has gone is not given to another")
		}
	}
}

// TestWhoSendsTooMuchWhileWaitingIsRefused: what is kept of a client is bounded.
func TestWhoSendsTooMuchWhileWaitingIsRefused(t *testing.T) {
	b := openBedroom(t, nil)
	conn, _ := b.knock(t)
	b.awaitAsked(t)
	if _, err := conn.Write(make([]byte, maxImpatience+1)); err != nil {
		t.Fatal(err)
	}
	if kind, _ := answer(t, conn); kind != 21 {
		t.Errorf("got record %d, want an alert", kind)
	}
}
