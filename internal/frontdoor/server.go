package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	helloTimeout = 10 * time.Second
	dialTimeout  = 5 * time.Second
	dialAgain    = 50 * time.Millisecond
	alertTimeout = time.Second
	// activityPeriod is how often open connections are told of.
	activityPeriod = 5 * time.Second

	defaultMaxConnections          = 8192
	defaultMaxConnectionsPerTenant = 1024
)

// Server passes TLS connections on to control planes.
type Server struct {
	// Registry knows the tenants. Required.
	Registry *tenants.Registry
	// Log is required.
	Log *slog.Logger
	// Dial reaches a control plane. Nil means TCP to port 443 of the tenant's ServiceAddress.
	Dial func(ctx context.Context, tenant tenants.Tenant) (net.Conn, error)
	// Wake asks for a tenant to wake that sleeps; a connection to it waits meanwhile. Nil asks nobody.
	Wake func(ctx context.Context, tenant tenants.Tenant) error
	// Active is told, time and again, that a tenant has a connection. Nil tells nobody.
	Active func(tenant tenants.Tenant)
	// Closed tells that nobody may come to a tenant now; open connections end within a second. Nil means that none is closed.
	Closed func(ctx context.Context, tenant tenants.Tenant) bool
	// Metrics count what happens; nil counts nothing.
	Metrics *doormetrics.Door
	// HoldTimeout is how long a connection waits for its tenant to wake. 0 means a minute.
	HoldTimeout time.Duration
	// MaxConnections in all, and per tenant. 0 means 8192 and 1024.
	MaxConnections          int
	MaxConnectionsPerTenant int

	// helloTimeout is helloTimeout but in tests.
	helloTimeout time.Duration
	// bell rings when the registry changes, ways are the open connections; Serve sets them.
	bell *bell
	ways *ways
}

// Serve accepts connections until the context ends. It closes the listener and returns when every connection is
// closed; the end of the context is no error.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	limit := newLimit(or(s.MaxConnections, defaultMaxConnections), or(s.MaxConnectionsPerTenant, defaultMaxConnectionsPerTenant))
	// One end for all: when the listener fails, the connections go too.
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	s.bell, s.ways = newBell(), newWays()
	connections.Go(func() { s.followRegistry(ctx) })
	connections.Go(func() { s.tellActivity(ctx, limit) })
	connections.Go(func() { s.endClosed(ctx) })
	for {
		client, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !isTemporary(err) {
				return fmt.Errorf("accept a connection at the front door: %w", err)
			}
			s.Log.Warn("Could not accept a connection at the front door", "error", err.Error())
			if !sleep(ctx, 50*time.Millisecond) {
				return nil
			}
			continue
		}
		named, ok := limit.enter(client.RemoteAddr())
		if !ok {
			s.Metrics.Refused(doormetrics.TooMany)
			client.Close()
			continue
		}
		connections.Go(func() {
			defer limit.leave()
			defer client.Close()
			s.handle(ctx, client, limit, named)
		})
	}
}

func (s *Server) handle(ctx context.Context, client net.Conn, limit *limit, named func()) {
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	name, hello, err := s.greet(ctx, client)
	named()
	if err != nil {
		s.Metrics.Refused(doormetrics.Handshake)
		s.Log.Debug("Refused a connection at the front door", "error", err.Error())
		if errors.Is(err, errNoServerName) {
			refuse(client, alertUnrecognizedName)
		}
		return
	}
	tenant, ok := s.find(name)
	if !ok {
		s.Metrics.Refused(doormetrics.Unknown)
		s.Log.Debug("Refused a connection at the front door", "serverName", name)
		refuse(client, alertUnrecognizedName)
		return
	}
	ctx, leave := s.ways.open(ctx, tenant.UID)
	defer leave()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	// Asked after it is among the open ones, so that no connection slips through in between.
	if s.isClosed(ctx, tenant) {
		s.Metrics.Refused(doormetrics.Closed)
		s.Log.Info("Refused a connection to a virtual cluster that is closed", "vcluster", tenant.Namespace+"/"+tenant.Name)
		refuse(client, alertAccessDenied)
		return
	}
	if !limit.enterTenant(tenant.UID) {
		s.Metrics.Refused(doormetrics.TooMany)
		s.Log.Warn("Too many connections at the front door", "vcluster", tenant.Namespace+"/"+tenant.Name)
		refuse(client, alertInternalError)
		return
	}
	defer limit.leaveTenant(tenant.UID)
	wasHeld := isHeld(tenant)
	if wasHeld {
		awake, sent, err := s.awaken(ctx, client, limit, tenant)
		if err != nil {
			s.refuseHeld(client, tenant, err)
			return
		}
		tenant, hello = awake, append(hello, sent...)
	}
	if s.Active != nil {
		s.Active(tenant)
	}
	s.pass(ctx, client, hello, tenant, wasHeld)
}

func (s *Server) refuseHeld(client net.Conn, tenant tenants.Tenant, err error) {
	s.Metrics.Refused(doormetrics.Asleep)
	s.Log.Info("Refused a connection to a virtual cluster that sleeps", "vcluster", tenant.Namespace+"/"+tenant.Name, "error", err.Error())
	description := byte(alertInternalError)
	if errors.Is(err, errKeptAsleep) {
		description = alertAccessDenied
	}
	refuse(client, description)
}

// followRegistry rings the bell when tenants change.
func (s *Server) followRegistry(ctx context.Context) {
	changes := s.Registry.Changes()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
			s.bell.ring()
		}
	}
}

// tellActivity tells of open connections: a stream counts until it is closed.
func (s *Server) tellActivity(ctx context.Context, limit *limit) {
	if s.Active == nil {
		return
	}
	tick := time.NewTicker(activityPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, uid := range limit.connected() {
				if tenant, ok := s.Registry.ByUID(uid); ok && !isHeld(tenant) {
					s.Active(tenant)
				}
			}
		}
	}
}

// greet reads the server name in the time that a client has for it.
func (s *Server) greet(ctx context.Context, client net.Conn) (name string, hello []byte, err error) {
	timeout := s.helloTimeout
	if timeout == 0 {
		timeout = helloTimeout
	}
	if err := client.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", nil, fmt.Errorf("set a deadline: %w", err)
	}
	return readServerName(ctx, client)
}

// find knows a tenant by the first label of the server name.
func (s *Server) find(name string) (tenants.Tenant, bool) {
	id, domain, _ := strings.Cut(strings.ToLower(name), ".")
	if domain != mapping.FrontDoorDomain || !mapping.IsID(id) {
		return tenants.Tenant{}, false
	}
	tenant, ok := s.Registry.ByID(id)
	return tenant, ok && !tenant.Terminating
}

// pass leads a client to its control plane. To one that has just woken the way may be open a moment later here than elsewhere.
func (s *Server) pass(ctx context.Context, client net.Conn, hello []byte, tenant tenants.Tenant, hasJustWoken bool) {
	dialContext, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	backend, err := s.dial(dialContext, tenant)
	for err != nil && hasJustWoken && sleep(dialContext, dialAgain) {
		backend, err = s.dial(dialContext, tenant)
	}
	if err != nil {
		s.Metrics.Refused(doormetrics.Unreachable)
		s.Log.Debug("Could not reach a control plane", "vcluster", tenant.Namespace+"/"+tenant.Name, "error", err.Error())
		refuse(client, alertInternalError)
		return
	}
	defer backend.Close()
	stop := context.AfterFunc(ctx, func() { backend.Close() })
	defer stop()
	if _, err := backend.Write(hello); err != nil {
		return
	}
	if client.SetDeadline(time.Time{}) != nil {
		return
	}
	defer s.Metrics.Connected()()
	s.Metrics.Passed(int64(len(hello)), 0)
	s.Metrics.Passed(splice(client, backend))
}

func (s *Server) dial(ctx context.Context, tenant tenants.Tenant) (net.Conn, error) {
	if s.Dial != nil {
		return s.Dial(ctx, tenant)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(tenant.ServiceAddress, "443"))
}

// refuse tells the client why the connection ends.
func refuse(client net.Conn, description byte) {
	if client.SetWriteDeadline(time.Now().Add(alertTimeout)) == nil {
		_, _ = client.Write(alert(description))
	}
}

// isTemporary tells whether accepting may succeed later: too many open files, a client that is gone already.
func isTemporary(err error) bool { return !errors.Is(err, net.ErrClosed) }

// sleep tells whether the time has passed before the context ended.
func sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func or(value, fallback int) int {
	if value == 0 {
		return fallback
	}
	return value
}
