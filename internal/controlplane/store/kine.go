package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/generic"
	// Beside package sqlite of ours this is the only driver that is linked in.
	_ "github.com/k3s-io/kine/pkg/drivers/memory"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	// A write notifies kine's poll loop itself; this interval is the net under a lost notification.
	pollInterval = 15 * time.Second
	// How often an idle watch is told the revision. Readers that need it sooner ask for it.
	notifyInterval = time.Minute
	// As often as kube-apiserver compacts etcd.
	compactInterval = 5 * time.Minute
	// What an etcd server accepts, with room for the envelope.
	maxRequestBytes = 2 << 20
	// How long calls in flight have before they are cut off. The API server has ended by then; what remains are idle
	// watches of clients that upstream forgets to close.
	drainTimeout = 200 * time.Millisecond
)

// kine translates the etcd protocol to SQL or to a tree in memory, in this process.
type kine struct {
	endpoint string
	socket   string
	prepare  func(context.Context) error
	// compacts is true for a backend that compacts itself.
	compacts bool

	cancel  context.CancelFunc
	server  *grpc.Server
	running sync.WaitGroup
}

// quiet keeps kine's chatter out of our logs; it logs through logrus' one global logger.
var quiet sync.Once

func (k *kine) Start(ctx context.Context) (string, error) {
	quiet.Do(func() { logrus.SetLevel(logrus.ErrorLevel) })
	if k.cancel != nil {
		return "", errors.New("the store was started before")
	}
	if k.prepare != nil {
		if err := k.prepare(ctx); err != nil {
			return "", err
		}
	}
	// The store lives until Stop, not until the end of the context of Start.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	giveUp := context.AfterFunc(ctx, cancel)
	if err := k.serve(runCtx); err != nil {
		cancel()
		k.running.Wait()
		return "", fmt.Errorf("%w: %s", ErrOpen, redact(err, k.endpoint))
	}
	if !giveUp() {
		k.cancel = cancel
		return "", errors.Join(ctx.Err(), k.Stop(context.WithoutCancel(ctx)))
	}
	k.cancel = cancel
	return "unix://" + k.socket, nil
}

func (k *kine) serve(ctx context.Context) error {
	_, backend, err := drivers.New(ctx, &k.running, &drivers.Config{
		Endpoint:             k.endpoint,
		ConnectionPoolConfig: generic.ConnectionPoolConfig{MaxIdle: 4, MaxOpen: 4},
		CompactInterval:      compactInterval,
		CompactTimeout:       5 * time.Second,
		CompactMinRetain:     1000,
		CompactBatchSize:     1000,
		PollBatchSize:        500,
		PollInterval:         pollInterval,
	})
	if err != nil {
		return err
	}
	if err := backend.Start(ctx); err != nil {
		return err
	}
	listener, err := listenPrivately(ctx, k.socket)
	if err != nil {
		return err
	}
	k.server = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(1<<31-1),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
	)
	server.New(backend, "unix", notifyInterval, "3.6.6").Register(k.server)
	k.running.Go(func() {
		if err := k.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			logrus.Errorf("Datastore stopped serving: %v", err)
		}
	})
	if !k.compacts {
		k.running.Go(func() { compact(ctx, backend, compactInterval) })
	}
	return nil
}

func listenPrivately(ctx context.Context, socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// Stop first ends the calls, then the backend: a call that was answered has reached the disk by then.
func (k *kine) Stop(ctx context.Context) error {
	if k.cancel == nil {
		return nil
	}
	cutOff := time.AfterFunc(drainTimeout, k.server.Stop)
	k.server.GracefulStop()
	cutOff.Stop()
	k.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.running.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("stop the datastore: %w", ctx.Err())
	}
	if err := os.Remove(k.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the datastore's socket: %w", err)
	}
	return nil
}
