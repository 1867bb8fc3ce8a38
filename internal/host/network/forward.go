package network

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds how long a forwarded connection waits for its target.
const dialTimeout = 10 * time.Second

// maxConnections of one forwarder at a time; more wait in the kernel's queue.
const maxConnections = 4096

// Dialer opens the other side of a forwarded connection.
type Dialer func(ctx context.Context) (net.Conn, error)

// Forward copies each connection that the listener accepts to one of its own from dial. It returns when ctx ends, with all
// connections closed.
func Forward(ctx context.Context, listener net.Listener, dial Dialer, logger *slog.Logger) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	slots := make(chan struct{}, maxConnections)
	for {
		slots <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Such as no file descriptors left; the next try must not spin.
			logger.Warn("Could not accept a connection", "address", listener.Addr().String(), "error", err)
			<-slots
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		connections.Go(func() {
			defer func() { <-slots }()
			forwardOne(ctx, conn, dial, logger)
		})
	}
}

func forwardOne(ctx context.Context, conn net.Conn, dial Dialer, logger *slog.Logger) {
	defer conn.Close()
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	target, err := dial(dialCtx)
	cancel()
	if err != nil {
		logger.Debug("Could not reach the target of a connection", "address", conn.LocalAddr().String(), "error", err)
		return
	}
	defer target.Close()
	Pipe(ctx, conn, target)
}

// Pipe copies in both directions until both have ended, or ctx has. One side may end first: its end is passed on.
func Pipe(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	var copies sync.WaitGroup
	copies.Go(func() { copyThenClose(a, b) })
	copies.Go(func() { copyThenClose(b, a) })
	copies.Wait()
}

func copyThenClose(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, canHalf := to.(interface{ CloseWrite() error })
	if err != nil || !canHalf {
		// A broken connection ends both directions at once.
		to.Close()
		from.Close()
		return
	}
	_ = half.CloseWrite() // The other side may be gone; then its copy ends by itself.
}
