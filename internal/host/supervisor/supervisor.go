package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

// Run keeps a host running until ctx ends.
func Run(ctx context.Context, options control.Options) error {
	options.Complete()
	if err := options.Validate(); err != nil {
		return err
	}
	layout, err := control.NewLayout(options.DataDir)
	if err != nil {
		return err
	}
	options.DataDir = layout.DataDir
	if err := control.CheckMachine(); err != nil {
		return err
	}
	if err := os.MkdirAll(layout.Data("logs"), 0o711); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	lock, err := layout.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	listeners, err := listen(ctx, options)
	if err != nil {
		return err
	}
	defer listeners.close()
	status, err := begin(ctx, layout, options)
	if err != nil {
		return err
	}
	err = supervise(ctx, layout, options, listeners, status)
	if err != nil {
		return errors.Join(err, status.failed(err))
	}
	return status.stopped()
}

// begin tidies up after an earlier process and takes over the run folder.
func begin(ctx context.Context, layout control.Layout, options control.Options) (*statusWriter, error) {
	started := time.Now()
	var stat unix.Statfs_t
	if unix.Statfs(layout.NetworkNamespace(), &stat) != nil || stat.Type != unix.NSFS_MAGIC {
		// Without its network namespace nothing of an earlier host can be used: the machine was switched off.
		if err := control.Clean(ctx, layout); err != nil {
			return nil, fmt.Errorf("remove what an earlier host has left: %w", err)
		}
	}
	if err := os.MkdirAll(layout.Run(), 0o711); err != nil {
		return nil, fmt.Errorf("make the folder of sockets: %w", err)
	}
	if err := control.EndPrograms(ctx, layout); err != nil {
		return nil, err
	}
	status := newStatusWriter(layout, options, started)
	if err := status.write(); err != nil {
		return nil, err
	}
	return status, nil
}

// supervise starts everything and stays until ctx ends or something cannot be kept running.
func supervise(ctx context.Context, layout control.Layout, options control.Options, listeners *listeners, status *statusWriter) error {
	log, err := openLog(layout.LogFile())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // Every line was written at once.
	logger := slog.New(slog.NewTextHandler(log, nil)).With("component", "supervisor")

	raiseLimits(logger)
	done := status.track(control.PhaseNetwork)
	if _, err := network.Ensure(ctx, layout.NetworkNamespace()); err != nil {
		return err
	}
	if options.Nodes > 1 {
		if err := makeWorkerNetwork(ctx, layout); err != nil {
			return err
		}
	}
	upstream, err := openEgress(ctx, layout, options)
	if err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	first := &nodeProcesses{
		pods: network.NodePods, status: status, logger: logger, containerdDone: status.track(control.PhaseContainerd),
		inner: &innerProcess{
			layout: layout, command: InnerCommand, options: options, files: []*os.File{listeners.api, listeners.frontDoor},
			upstream: upstream, status: status, log: log,
		},
	}
	if options.Nodes == 1 {
		return first.run(ctx)
	}
	second := &nodeProcesses{
		name: " of the second node", pods: network.WorkerPods, status: status, logger: logger, containerdDone: func() error { return nil },
		inner: &innerProcess{layout: layout.Worker(), command: WorkerCommand, options: options, status: status, log: log},
	}
	return runBoth(ctx, first, second, status.nodeReady)
}

func makeWorkerNetwork(ctx context.Context, layout control.Layout) error {
	if err := os.MkdirAll(layout.Worker().Run(), 0o711); err != nil {
		return fmt.Errorf("make the folder of the second node's sockets: %w", err)
	}
	return network.EnsureWorker(ctx, layout.NetworkNamespace(), layout.Worker().NetworkNamespace())
}

// runBoth starts the second node when the first one is Ready: it needs the control plane, and the ranges of pods are given out in
// that order. The end of either is that of both, the second one's first.
func runBoth(ctx context.Context, first, second *nodeProcesses, firstReady <-chan struct{}) error {
	firstCtx, stopFirst := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFirst()
	firstEnded := make(chan error, 1)
	go func() { firstEnded <- first.run(firstCtx) }()
	select {
	case err := <-firstEnded:
		return err
	case <-ctx.Done():
		stopFirst()
		return <-firstEnded
	case <-firstReady:
	}
	secondCtx, stopSecond := context.WithCancel(ctx)
	defer stopSecond()
	secondEnded := make(chan error, 1)
	go func() { secondEnded <- second.run(secondCtx) }()
	select {
	case err := <-firstEnded:
		stopSecond()
		return errors.Join(err, <-secondEnded)
	case err := <-secondEnded:
		stopFirst()
		return errors.Join(err, <-firstEnded)
	}
}

// listeners on 127.0.0.1 of the machine, as files that a process can be handed.
type listeners struct{ api, frontDoor *os.File }

func listen(ctx context.Context, options control.Options) (*listeners, error) {
	api, err := listenAt(ctx, "--api-port", options.APIPort)
	if err != nil {
		return nil, err
	}
	frontDoor, err := listenAt(ctx, "--front-door-port", options.FrontDoorPort)
	if err != nil {
		api.Close()
		return nil, err
	}
	return &listeners{api: api, frontDoor: frontDoor}, nil
}

func listenAt(ctx context.Context, flag string, port int) (*os.File, error) {
	listener, err := control.Listen(ctx, flag, port)
	if err != nil {
		return nil, err
	}
	// A duplicate, which stays open when the listener is closed.
	file, err := listener.File()
	if err := errors.Join(err, listener.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return file, nil
}

func (l *listeners) close() {
	l.api.Close()
	l.frontDoor.Close()
}
