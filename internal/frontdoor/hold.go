package frontdoor

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	// holdTimeout is how long a connection waits for a virtual cluster to wake.
	holdTimeout = time.Minute
	// wakeAgain is how often waking is asked for while somebody waits: the first time may have been a moment too early.
	wakeAgain = 5 * time.Second
	// keptGrace is how long a connection waits that wakes nobody: whoever has just taken the force off may be quicker than the news of it.
	keptGrace = 2 * time.Second

	defaultMaxHeld          = 1024
	defaultMaxHeldPerTenant = 64

	// maxImpatience bounds what a client may send while it waits. An honest one waits for the answer to its ClientHello.
	maxImpatience = 16 << 10
)

var (
	errKeptAsleep = errors.New("the virtual cluster is kept asleep")
	errTooMany    = errors.New("too many connections wait for the virtual cluster to wake")
	errGone       = errors.New("the virtual cluster is gone")
	errNotAwake   = errors.New("the virtual cluster has not woken in time")
	errImpatient  = errors.New("the client has gone or has sent too much while it waited")
)

// isHeld tells whether a connection to a tenant has to wait.
func isHeld(tenant tenants.Tenant) bool { return tenant.Asleep || tenant.Waking && !tenant.Ready }

// isKept tells whether no connection wakes a tenant.
func isKept(tenant tenants.Tenant) bool {
	isForced := tenant.Spec.Sleep != nil && tenant.Spec.Sleep.Force == tenancyv1alpha1.ForceAsleep
	return tenant.Asleep && (isForced || tenant.Spec.Paused)
}

// awaken wakes a tenant and waits until its API server answers. It returns the tenant as it is then, and what the client has sent
// meanwhile.
func (s *Server) awaken(ctx context.Context, client net.Conn, limit *limit, tenant tenants.Tenant) (tenants.Tenant, []byte, error) {
	if !limit.enterHeld(tenant.UID) {
		return tenant, nil, errTooMany
	}
	defer limit.leaveHeld(tenant.UID)
	ctx, cancel := context.WithTimeout(ctx, s.holdTimeout())
	defer cancel()
	watched := watchClient(client, cancel)
	awake, err := s.awaitAwake(ctx, tenant)
	sent, clientErr := watched.end()
	if clientErr != nil {
		return tenant, nil, errors.Join(errImpatient, clientErr)
	}
	return awake, sent, err
}

func (s *Server) holdTimeout() time.Duration {
	if s.HoldTimeout == 0 {
		return holdTimeout
	}
	return s.HoldTimeout
}

func (s *Server) awaitAwake(ctx context.Context, tenant tenants.Tenant) (tenants.Tenant, error) {
	again := time.NewTicker(wakeAgain)
	defer again.Stop()
	grace := time.NewTimer(keptGrace)
	defer grace.Stop()
	mustAsk, isGraceOver := true, false
	for {
		changed := s.bell.next()
		current, ok := s.Registry.ByUID(tenant.UID)
		switch {
		case !ok || current.Terminating:
			return tenant, errGone
		case !isHeld(current):
			return current, nil
		case isKept(current) && isGraceOver:
			return tenant, errKeptAsleep
		}
		if mustAsk && current.Asleep && !isKept(current) && s.Wake != nil {
			if err := s.Wake(ctx, current); err != nil {
				s.Log.Warn("Could not ask for a virtual cluster to wake", "vcluster", tenant.Namespace+"/"+tenant.Name, "error", err.Error())
			}
		}
		mustAsk = isKept(current) // it is asked when it can be
		select {
		case <-ctx.Done():
			return tenant, errNotAwake
		case <-again.C:
			mustAsk = true
		case <-grace.C:
			isGraceOver = true
		case <-changed:
		}
	}
}

// clientWatch notices a client that goes while it waits, and keeps what it sends.
type clientWatch struct {
	client net.Conn
	done   chan struct{}
	sent   []byte // until done is closed, the reader's
	err    error
}

func watchClient(client net.Conn, gone func()) *clientWatch {
	w := &clientWatch{client: client, done: make(chan struct{})}
	_ = client.SetReadDeadline(time.Time{})
	go func() {
		defer close(w.done)
		w.sent, w.err = io.ReadAll(io.LimitReader(client, maxImpatience+1))
		if errors.Is(w.err, os.ErrDeadlineExceeded) {
			w.err = nil
			return
		}
		if w.err == nil {
			w.err = io.EOF // it has closed, or sent more than it may
		}
		gone()
	}()
	return w
}

// end stops reading.
func (w *clientWatch) end() ([]byte, error) {
	_ = w.client.SetReadDeadline(time.Unix(1, 0))
	<-w.done
	return w.sent, w.err
}
