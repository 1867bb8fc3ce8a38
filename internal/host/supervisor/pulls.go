package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

const (
	pullRequestTimeout = 10 * time.Second
	pullDialTimeout    = 15 * time.Second
	maxPulls           = 64
)

// pulls is the forwarder by which containerd, inside, reaches registries outside: an HTTP proxy that knows CONNECT only. It
// listens on the loopback address of the host's namespace, where pods do not reach it, and dials from the machine's.
type pulls struct {
	listener net.Listener
	allowed  allowList
	logger   *slog.Logger
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func startPulls(ctx context.Context, layout control.Layout, allowed []string, logger *slog.Logger) (*pulls, error) {
	list, err := parseAllowList(allowed)
	if err != nil {
		return nil, err
	}
	listener, err := network.Listen(ctx, layout.NetworkNamespace(), "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for image pulls: %w", err)
	}
	// stop ends it, and not ctx: containerd may pull until it has ended.
	serveCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &pulls{listener: listener, allowed: list, logger: logger, cancel: cancel}
	p.running.Go(func() { p.serve(serveCtx) })
	return p, nil
}

func (p *pulls) address() string { return p.listener.Addr().String() }

func (p *pulls) stop() {
	p.cancel()
	p.listener.Close()
	p.running.Wait()
}

func (p *pulls) serve(ctx context.Context) {
	slots := make(chan struct{}, maxPulls)
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		p.running.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			p.handle(ctx, conn)
		})
	}
}

func (p *pulls) handle(ctx context.Context, conn net.Conn) {
	if err := conn.SetDeadline(time.Now().Add(pullRequestTimeout)); err != nil {
		return
	}
	request, err := http.ReadRequest(bufio.NewReaderSize(conn, 4096))
	if err != nil {
		return
	}
	if request.Method != http.MethodConnect {
		reply(conn, http.StatusMethodNotAllowed)
		return
	}
	target, err := p.dial(ctx, request.Host)
	if err != nil {
		p.logger.Warn("An image pull could not get out", "target", request.Host, "error", err)
		code := http.StatusBadGateway
		if errors.Is(err, errNotAllowed) {
			code = http.StatusForbidden
		}
		reply(conn, code)
		return
	}
	defer target.Close()
	reply(conn, http.StatusOK)
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return
	}
	network.Pipe(ctx, conn, target)
}

// reply writes the answer to CONNECT; when that does not get through, the connection is over anyhow.
func reply(conn net.Conn, code int) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n\r\n", code, http.StatusText(code))
}

// dial resolves the name itself and connects to an address that it has checked: asking twice could give two answers.
func (p *pulls) dial(ctx context.Context, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", hostPort, err)
	}
	ctx, cancel := context.WithTimeout(ctx, pullDialTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", host, err)
	}
	var errs []error
	for _, address := range addresses {
		if !p.allowed.allows(host, address) {
			errs = append(errs, fmt.Errorf("%s (%s): %w", host, address, errNotAllowed))
			continue
		}
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
