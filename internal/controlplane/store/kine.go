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
	"github.com/k3s-io/kine/pkg/drivers/memory"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/etcdapi"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/history"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store/sqlite"
)

const (
	// How often an idle watch is told the revision. Readers that need it sooner ask for it.
	notifyInterval = time.Minute
	// As often as kube-apiserver compacts etcd.
	compactInterval = 5 * time.Minute
	// What an etcd server accepts, with room for the envelope.
	maxRequestBytes = 2 << 20
	// How long calls in flight have before they are cut off. The API server has ended by then; what remains are idle
	// watches of clients that upstream forgets to close.
	drainTimeout = 200 * time.Millisecond
	// The version of etcd whose API this is. API servers ask for it to know whether progress can be asked for.
	etcdVersion = "3.6.6"
)

// kine translates the etcd protocol to SQL or to a tree in memory, in this process.
type kine struct {
	socket string
	// dataSource is not shown to anybody.
	dataSource string
	prepare    func(context.Context) error
	open       opener

	cancel  context.CancelFunc
	server  *grpc.Server
	running sync.WaitGroup
}

// opener opens and starts a backend that ends with the context. Its goroutines leave the group when they have ended.
type opener func(context.Context, *sync.WaitGroup) (server.Backend, *history.History, error)

func openSQLite(dataSource string) opener {
	return func(ctx context.Context, running *sync.WaitGroup) (server.Backend, *history.History, error) {
		backend, err := sqlite.Open(ctx, running, dataSource)
		if err != nil {
			return nil, nil, err
		}
		if err := backend.Start(ctx); err != nil {
			return nil, nil, err
		}
		events := backend.History()
		return backend, events, nil
	}
}

func openMemory(ctx context.Context, running *sync.WaitGroup) (server.Backend, *history.History, error) {
	_, backend, err := memory.New(ctx, running, &drivers.Config{})
	if err != nil {
		return nil, nil, err
	}
	if err := backend.Start(ctx); err != nil {
		return nil, nil, err
	}
	events, keepUp, err := history.Of(ctx, backend)
	if err != nil {
		return nil, nil, err
	}
	running.Go(func() { keepUp(ctx) })
	return backend, events, nil
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
		return "", fmt.Errorf("%w: %s", ErrOpen, redact(err, k.dataSource))
	}
	if !giveUp() {
		k.cancel = cancel
		return "", errors.Join(ctx.Err(), k.Stop(context.WithoutCancel(ctx)))
	}
	k.cancel = cancel
	return "unix://" + k.socket, nil
}

func (k *kine) serve(ctx context.Context) error {
	backend, events, err := k.open(ctx, &k.running)
	if err != nil {
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
	register(k.server, backend, events)
	k.running.Go(func() {
		if err := k.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			logrus.Errorf("Datastore stopped serving: %v", err)
		}
	})
	k.running.Go(func() { compact(ctx, backend, compactInterval) })
	return nil
}

// register offers etcd's API: kine's, but for the watches.
func register(to *grpc.Server, backend server.Backend, events *history.History) {
	bridge := server.New(backend, "unix", notifyInterval, etcdVersion)
	etcdserverpb.RegisterKVServer(to, bridge)
	etcdserverpb.RegisterLeaseServer(to, bridge)
	etcdserverpb.RegisterClusterServer(to, bridge)
	etcdserverpb.RegisterMaintenanceServer(to, bridge)
	etcdserverpb.RegisterWatchServer(to, etcdapi.New(events, notifyInterval))
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
