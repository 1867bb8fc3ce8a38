package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/matryoshka-dev/matryoshka/internal/connlimit"
	"github.com/matryoshka-dev/matryoshka/internal/dns/hostview"
	"github.com/matryoshka-dev/matryoshka/internal/dns/zone"
)

// Bounds of TCP connections. An idle one is closed after some seconds.
const (
	maxConnections         = 4096
	maxConnectionsOfSource = 64
)

// stopTime is how long requests under way may take after the end was asked for.
const stopTime = 5 * time.Second

// Run serves until the context ends.
func Run(ctx context.Context, options Options, log *slog.Logger) error {
	addresses, err := upstreams(options.Upstream, resolvConf)
	if err != nil {
		return err
	}
	client, err := newClient(options.Kubeconfig)
	if err != nil {
		return err
	}
	view, err := hostview.New(client)
	if err != nil {
		return err
	}
	listeners, err := listen(ctx, options)
	if err != nil {
		return err
	}
	log.Info("DNS starts", "domain", options.ClusterDomain, "address", options.Listen, "upstream", strings.Join(addresses, ","))
	return serve(ctx, options.ClusterDomain, view, addresses, listeners, log)
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find the host cluster (set --kubeconfig outside of a pod): %w", err)
	}
	config.UserAgent = "matryd-dns"
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the host cluster: %w", err)
	}
	return client, nil
}

// listeners are the open sockets of the server.
type listeners struct {
	tcp  net.Listener
	udp  net.PacketConn
	http net.Listener
	// closed is nil when there is none.
	closed net.Listener
}

func (l *listeners) close() {
	for _, closer := range []interface{ Close() error }{l.tcp, l.udp, l.http, l.closed} {
		if closer != nil {
			// Only to free the address on the way out.
			_ = closer.Close()
		}
	}
}

func listen(ctx context.Context, options Options) (*listeners, error) {
	l := &listeners{}
	config := net.ListenConfig{}
	tcp, err := config.Listen(ctx, "tcp", options.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for DNS: %w", err)
	}
	l.tcp = tcp
	// With port 0 both must get the same one.
	if l.udp, err = config.ListenPacket(ctx, "udp", samePort(options.Listen, tcp.Addr())); err != nil {
		l.close()
		return nil, fmt.Errorf("listen for DNS: %w", err)
	}
	if l.http, err = config.Listen(ctx, "tcp", options.HTTPListen); err != nil {
		l.close()
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	if options.ClosedListen == "" {
		return l, nil
	}
	if l.closed, err = config.Listen(ctx, "tcp", options.ClosedListen); err != nil {
		l.close()
		return nil, fmt.Errorf("listen where nobody should come: %w", err)
	}
	return l, nil
}

// hangUp closes what connects: that it could is all there is to know.
func hangUp(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_ = connection.Close()
	}
}

func samePort(asked string, got net.Addr) string {
	host, _, err := net.SplitHostPort(asked)
	_, port, portErr := net.SplitHostPort(got.String())
	if err != nil || portErr != nil {
		return asked
	}
	return net.JoinHostPort(host, port)
}

// serve puts the server together and runs it until the context ends.
func serve(ctx context.Context, domain string, view *hostview.View, upstream []string, l *listeners, log *slog.Logger) error {
	defer l.close()
	var next plugin.Handler
	if len(upstream) > 0 {
		out := newOutside(upstream)
		defer func() {
			if err := out.stop(); err != nil {
				log.Warn("Stop of the upstream resolvers failed", "error", err)
			}
		}()
		next = out.cache
	}
	names := zone.New(domain, view, next)
	server, err := dnsserver.NewServer("dns://"+l.tcp.Addr().String(), []*dnsserver.Config{{
		Zone:      ".",
		Transport: "dns",
		Plugin: []plugin.Plugin{
			func(following plugin.Handler) plugin.Handler {
				counted := metrics.New("")
				counted.AddZone(names.Domain)
				counted.Next = following
				return counted
			},
			// The zone knows what comes after it: the cache must never stand before it, nor be asked without it.
			func(plugin.Handler) plugin.Handler { return names },
		},
	}})
	if err != nil {
		return fmt.Errorf("make the DNS server: %w", err)
	}
	probes := newHTTPServer(view.Synced)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	start := func(what string, work func() error) {
		running.Go(func() {
			err := work()
			if err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	running.Go(func() { view.Run(ctx) })
	start("serve DNS over TCP", func() error { return server.Serve(connlimit.New(l.tcp, maxConnections, maxConnectionsOfSource)) })
	start("serve DNS over UDP", func() error { return server.ServePacket(l.udp) })
	start("serve probes", func() error { return probes.Serve(l.http) })
	if l.closed != nil {
		running.Go(func() { hangUp(l.closed) })
	}

	<-ctx.Done()
	cause := context.Cause(ctx)
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer done()
	stopErr := errors.Join(server.Stop(), probes.Shutdown(grace))
	// A server that had not started when it was stopped ends with its socket.
	l.close()
	running.Wait()
	if !errors.Is(cause, context.Canceled) {
		return cause
	}
	if stopErr != nil {
		log.Warn("Some questions were cut off at the end", "error", stopErr)
	}
	return nil
}
