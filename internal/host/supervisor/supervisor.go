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
	upstream, err := openEgress(ctx, layout, options)
	if err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	pulls, err := startPulls(ctx, layout, options.PullFrom, logger)
	if err != nil {
		return err
	}
	defer pulls.stop()

	containerd, err := newContainerd(layout, options, pulls.address())
	if err != nil {
		return err
	}
	defer func() { _ = containerd.log.Close() }() // Every line was written at once.
	inner := &innerProcess{layout: layout, options: options, listeners: listeners, upstream: upstream, status: status, log: log}

	runtimeCtx, stopRuntime := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRuntime()
	runtimeEnded := make(chan error, 1)
	containerdDone := status.track(control.PhaseContainerd)
	go func() {
		runtimeEnded <- keepRunning(runtimeCtx, "containerd", containerd.start, status, logger)
	}()
	answering := make(chan error, 1)
	go func() {
		if err := containerd.waitForSocket(runtimeCtx); err != nil {
			answering <- nil // It ended; keepRunning says why.
			return
		}
		answering <- containerdDone()
	}()

	innerCtx, stopInner := context.WithCancel(ctx)
	defer stopInner()
	innerEnded := make(chan error, 1)
	go func() {
		innerEnded <- keepRunning(innerCtx, "the inner process", inner.start, status, logger)
	}()

	var result error
	select {
	case result = <-runtimeEnded:
		stopInner()
		result = errors.Join(result, <-innerEnded)
	case result = <-innerEnded:
		stopRuntime()
		result = errors.Join(result, <-runtimeEnded)
	}
	stopRuntime()
	return errors.Join(result, <-answering)
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
