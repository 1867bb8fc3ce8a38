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

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	helloTimeout = 10 * time.Second
	dialTimeout  = 5 * time.Second
	alertTimeout = time.Second

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
	// MaxConnections in all, and per tenant. 0 means 8192 and 1024.
	MaxConnections          int
	MaxConnectionsPerTenant int

	// helloTimeout is helloTimeout but in tests.
	helloTimeout time.Duration
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
		s.Log.Debug("Refused a connection at the front door", "error", err.Error())
		if errors.Is(err, errNoServerName) {
			refuse(client, alertUnrecognizedName)
		}
		return
	}
	tenant, ok := s.find(name)
	if !ok {
		s.Log.Debug("Refused a connection at the front door", "serverName", name)
		refuse(client, alertUnrecognizedName)
		return
	}
	if !limit.enterTenant(tenant.UID) {
		s.Log.Warn("Too many connections at the front door", "vcluster", tenant.Namespace+"/"+tenant.Name)
		refuse(client, alertInternalError)
		return
	}
	defer limit.leaveTenant(tenant.UID)
	s.pass(ctx, client, hello, tenant)
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

func (s *Server) pass(ctx context.Context, client net.Conn, hello []byte, tenant tenants.Tenant) {
	dialContext, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	backend, err := s.dial(dialContext, tenant)
	if err != nil {
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
	splice(client, backend)
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
