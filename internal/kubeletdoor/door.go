// Package kubeletdoor is the endpoint of the agent at which a tenant's API server finds its "kubelets".
//
// A control plane opens an mTLS connection, names a node (CONNECT <node>:10250), and speaks kubelet TLS and the kubelet's
// HTTP inside. There is no kubelet: logs, exec, attach and port-forward become requests for the subresources of the host
// pod, with the agent's credentials, and the node's own endpoints are answered from the tenant's pods. What the package
// does not serve (node statistics, metrics, kubelet logs, checkpoints) is 404.
//
// Invariants: who asks is known from the client certificate alone; nothing is forwarded before the host pod was read
// and carries this tenant's labels; paths are parsed by segments and queries are written anew from known parameters;
// no header of the tenant's is believed; errors name the tenant's objects and never the host's.
package kubeletdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/doormetrics"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

const (
	// handshakeTimeout bounds everything that happens before a tunnel stands.
	handshakeTimeout = 15 * time.Second
	// idleTimeout closes tunnels over which nothing is asked. The API server keeps idle connections for 90 seconds.
	idleTimeout = 3 * time.Minute
	// stopTime is how long requests under way may take after the end was asked for; streams are cut.
	stopTime = 5 * time.Second
)

// Options are what a Door needs. All fields are required unless they say otherwise.
type Options struct {
	// HostConfig reaches the host cluster with the agent's own rights.
	HostConfig *rest.Config
	// Tenants tells who may ask.
	Tenants *tenants.Registry
	// TLS is the outer TLS: dooridentity.ServerConfig.
	TLS *tls.Config
	// NodeAddress is the InternalIP of a host node; ok is false when there is no such node for this tenant.
	NodeAddress func(ctx context.Context, tenant tenants.Tenant, node string) (address string, ok bool, err error)
	// Metrics count what happens; nil counts nothing.
	Metrics *doormetrics.Door
	// Log is where refusals and faults are told; nil means slog.Default.
	Log *slog.Logger
}

// Door serves tunnels.
type Door struct {
	Options
	host  kubernetes.Interface
	proxy *hostProxy
	// limits are of all requests, listings of those that list the pods of a node.
	limits, listings *limits

	tunnels *tunnels
	inner   *http.Server
	ready   *queue
}

// New makes a door.
func New(options Options) (*Door, error) {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	host, err := kubernetes.NewForConfig(options.HostConfig)
	if err != nil {
		return nil, fmt.Errorf("make a client for the host cluster: %w", err)
	}
	d := &Door{Options: options, host: host, limits: newLimits(maxRequestsOfTenant), listings: newLimits(maxListingsOfTenant), tunnels: newTunnels(), ready: newQueue()}
	if d.proxy, err = newHostProxy(options.HostConfig, options.Log); err != nil {
		return nil, err
	}
	d.inner = &http.Server{
		Handler:           options.Metrics.Handler(http.HandlerFunc(d.serveKubelet)),
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10, // a command of exec stands in the request line
		ErrorLog:          slog.NewLogLogger(options.Log.Handler(), slog.LevelDebug),
		ConnContext:       withTunnel,
	}
	return d, nil
}

// Serve accepts connections on a plain listener until the context ends. It returns after all tunnels are closed.
func (d *Door) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { d.closeForgotten(ctx) })
	var innerErr error
	running.Go(func() {
		if err := d.inner.Serve(d.ready); !errors.Is(err, http.ErrServerClosed) {
			innerErr = err
			cancel()
		}
	})
	stop := context.AfterFunc(ctx, func() {
		// Accept returns; an error here has nothing to tell.
		_ = listener.Close()
	})
	defer stop()

	acceptErr := d.accept(ctx, listener, &running)
	cancel()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer done()
	// Streams are not waited for by Shutdown; they end when their tunnels are closed.
	_ = d.inner.Shutdown(grace)
	d.tunnels.closeAll()
	running.Wait()
	d.tunnels.wait()
	return errors.Join(acceptErr, innerErr)
}

func (d *Door) accept(ctx context.Context, listener net.Listener, running *sync.WaitGroup) error {
	var handshakes handshakes
	counted := d.Metrics.Listener(listener)
	for {
		connection, err := counted.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = connection.Close()
			}
			return nil
		}
		if err != nil {
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			return fmt.Errorf("accept at the kubelet door: %w", err)
		}
		leave, ok := handshakes.enter(connection.RemoteAddr())
		if !ok {
			d.Metrics.Refused(doormetrics.TooMany)
			_ = connection.Close()
			continue
		}
		running.Go(func() {
			defer leave()
			if err := d.open(ctx, connection); err != nil {
				d.Metrics.Refused(reasonOf(err))
				d.Log.Info("Kubelet door refused a connection", "remote", connection.RemoteAddr().String(), "error", err)
				_ = connection.Close()
			}
		})
	}
}

// reasonOf is why no tunnel was opened.
func reasonOf(err error) doormetrics.Reason {
	refused := (&errRefused{})
	switch {
	case errors.As(err, &refused) && refused.code == http.StatusForbidden:
		return doormetrics.Unknown
	case errors.Is(err, errTooManyTunnels):
		return doormetrics.TooMany
	}
	return doormetrics.Handshake
}

// closeForgotten cuts the tunnels of virtual clusters that are deleted.
func (d *Door) closeForgotten(ctx context.Context) {
	changes := d.Tenants.Changes()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
		for _, uid := range d.tunnels.owners() {
			if tenant, ok := d.Tenants.ByUID(uid); !ok || tenant.Terminating {
				d.tunnels.closeOf(uid)
			}
		}
	}
}
