package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
)

const dialTimeout = 5 * time.Second

// direct is the same configuration with connections that begin inside of a network namespace and lead to one address, past the
// doors that lead in from outside. Who is called, and whom the caller takes it for, stays.
func direct(config *rest.Config, namespace, address string) *rest.Config {
	inside := rest.CopyConfig(config)
	inside.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialIn(ctx, namespace, network, address)
	}
	return unlimited(inside)
}

// unlimited takes the client's own limits away: they would be what is measured.
func unlimited(config *rest.Config) *rest.Config {
	config.QPS, config.Burst = -1, 0
	config.WarningHandler = rest.NoWarnings{}
	config.UserAgent = "matryoshka-bench"
	return config
}

// dialIn opens a connection from inside of a network namespace. A socket stays in the one in which it was made.
func dialIn(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread has left its network namespace, and ends with this goroutine.
		runtime.LockOSThread()
		conn, err := enterAndDial(ctx, namespace, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("connect to %s inside of the host's network: %w", address, r.err)
	}
	return r.conn, nil
}

func enterAndDial(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the network namespace: %w", err)
	}
	// Without a second attempt by its side the dialler stays in this goroutine, and so in this thread.
	dialer := net.Dialer{Timeout: dialTimeout, FallbackDelay: -1}
	return dialer.DialContext(ctx, network, address)
}
