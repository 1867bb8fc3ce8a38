package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/bootstrap"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/door"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/metricsapi"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/serviceaddress"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/sharedclient"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/store"
)

// ErrStarted is returned by Start of a control plane that was started before.
var ErrStarted = errors.New("the control plane was started before")

// stopTimeout bounds the parts of a stop that have no context of their own.
const stopTimeout = 25 * time.Second

// answerTimeout is what requests in flight have to be answered when the API server stops; then connections are closed.
const answerTimeout = 500 * time.Millisecond

// ControlPlane is one control plane. It is started once and stopped once; a restart is a new ControlPlane.
type ControlPlane struct {
	config   config.ControlPlane
	log      *slog.Logger
	listener net.Listener

	mu      sync.Mutex
	started bool
	stopped bool
	runtime string
	store   store.Store
	client  *sharedclient.Client
	server  *server
	// connections are those of the listener, when it serves.
	connections *closable
	// door is the client of the address door; nil without doors.
	door *door.Client

	// cancelWork ends what uses the API server; cancelServer ends the API server itself, which must live longer.
	cancelWork, cancelServer context.CancelFunc
	work, serving            sync.WaitGroup

	ready *readiness
	// failed receives the first error of a part that ended by itself.
	failed chan error
}

// Option changes a default of New.
type Option func(*ControlPlane)

// WithListener serves on the listener instead of the configured address. The control plane closes it.
func WithListener(l net.Listener) Option { return func(c *ControlPlane) { c.listener = l } }

// WithLogger logs there instead of to slog's default.
func WithLogger(l *slog.Logger) Option { return func(c *ControlPlane) { c.log = l } }

// New returns a control plane with a defaulted and validated copy of the configuration. Nothing runs yet.
func New(c config.ControlPlane, options ...Option) (*ControlPlane, error) {
	c.APIVersion, c.Kind = config.APIVersion, config.Kind
	c.Default()
	if err := c.Validate().ToAggregate(); err != nil {
		return nil, fmt.Errorf("control plane configuration: %w", err)
	}
	cp := &ControlPlane{config: c, log: slog.Default(), ready: newReadiness(c.Scheduler), failed: make(chan error, 1)}
	for _, option := range options {
		option(cp)
	}
	cp.log = cp.log.With("vcluster", c.Name)
	return cp, nil
}

// Start begins to serve and returns when the API answers; readiness comes later, see Ready. The context bounds the
// start alone. When Start fails, nothing is left running.
func (c *ControlPlane) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		return ErrStarted
	}
	c.started = true
	if err := c.start(ctx); err != nil {
		return errors.Join(err, c.stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func (c *ControlPlane) start(ctx context.Context) error {
	var err error
	if c.runtime, err = os.MkdirTemp("", "matryoshka-"); err != nil {
		return fmt.Errorf("make the runtime folder: %w", err)
	}
	if c.store, err = store.New(c.config.Store, c.runtime); err != nil {
		return err
	}
	endpoint, err := c.store.Start(ctx)
	if err != nil {
		return err
	}
	if c.client, err = sharedclient.New(endpoint); err != nil {
		return err
	}
	if err := c.listen(ctx); err != nil {
		return err
	}
	// Most of a start is building the API server, so the objects are written meanwhile.
	seeded := make(chan error, 1)
	go func() { seeded <- bootstrap.Seed(ctx, c.client, storePrefix) }()
	err = c.serve(ctx, endpoint)
	if err := errors.Join(err, <-seeded); err != nil {
		return err
	}
	return c.startWork(ctx)
}

// serve builds and runs the API server and returns when it answers.
func (c *ControlPlane) serve(ctx context.Context, endpoint string) error {
	serverCtx, cancelServer := context.WithCancel(context.WithoutCancel(ctx))
	c.cancelServer = cancelServer
	c.connections = newClosable(c.listener)
	p := parts{storeEndpoint: endpoint, client: c.client, runtimeDir: c.runtime, listener: c.connections, ready: c.ready}
	if c.config.Doors != nil {
		c.door = door.NewClient(addressDoor(c.config))
		p.addresses, p.metrics = serviceaddress.NewDoorClient(c.door), metricsapi.AskDoor(c.door)
	}
	server, err := newServer(serverCtx, c.config, p)
	if err != nil {
		return err
	}
	c.server = server
	c.serving.Go(func() { c.fail(server.run(serverCtx)) })
	return server.awaitServing(ctx, c.failed)
}

func (c *ControlPlane) listen(ctx context.Context) error {
	if c.listener != nil {
		return nil
	}
	address := net.JoinHostPort(c.config.BindAddress, strconv.Itoa(c.config.Port))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	c.listener = listener
	return nil
}

// awaitHooks lets the hooks of a start that is still going on end; see server.awaitHooks.
func (c *ControlPlane) awaitHooks(ctx context.Context) {
	client, err := kubernetes.NewForConfig(c.server.clientConfig())
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hooksTimeout)
	defer cancel()
	c.server.awaitHooks(ctx, client)
}

// Stop ends everything in the order of use: controllers, API server, datastore. It may be called more than once.
func (c *ControlPlane) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop(ctx)
}

func (c *ControlPlane) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var errs []error
	if c.stopped {
		return nil
	}
	c.stopped = true
	if c.server != nil {
		c.awaitHooks(ctx)
	}
	if c.cancelWork != nil {
		c.cancelWork()
		errs = append(errs, await(ctx, &c.work, "controllers"))
	}
	if c.cancelServer != nil {
		c.cancelServer()
		cutOff := time.AfterFunc(answerTimeout, c.connections.closeConnections)
		errs = append(errs, await(ctx, &c.serving, "API server"))
		cutOff.Stop()
	}
	if c.door != nil {
		c.door.Close()
	}
	if c.listener != nil {
		// The API server has closed it, unless the start failed before it served.
		if err := c.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if c.client != nil {
		errs = append(errs, c.client.Close())
	}
	if c.store != nil {
		errs = append(errs, c.store.Stop(ctx))
	}
	if c.runtime != "" {
		errs = append(errs, os.RemoveAll(c.runtime))
	}
	return errors.Join(errs...)
}

func await(ctx context.Context, group *sync.WaitGroup, what string) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		group.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the %s: %w", what, ctx.Err())
	}
}

// fail reports that a part ended. Only the first error counts: the others follow from it.
func (c *ControlPlane) fail(err error) {
	if err == nil {
		return
	}
	select {
	case c.failed <- err:
	default:
	}
}

// Failed receives an error when a part of the control plane ended by itself. The control plane must then be stopped.
func (c *ControlPlane) Failed() <-chan error { return c.failed }

// Ready is closed when the system objects exist, the controllers run and upstream's hooks have ended.
func (c *ControlPlane) Ready() <-chan struct{} { return c.ready.done }

// ClientConfig returns a client configuration with all rights (system:masters) that talks to the API server over
// loopback. It is nil before Start has returned.
func (c *ControlPlane) ClientConfig() *rest.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	return c.server.clientConfig()
}
