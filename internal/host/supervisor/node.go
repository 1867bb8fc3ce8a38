package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
)

// nodeProcesses is what a node runs on: containerd, and beside it the process with the node's part of Kubernetes.
type nodeProcesses struct {
	// name is added to those of its processes.
	name string
	pods netip.Prefix
	// containerdDone is called once, when containerd answers.
	containerdDone func() error
	inner          *innerProcess
	status         *statusWriter
	logger         *slog.Logger
}

// run keeps both processes running until ctx ends or one of them cannot be kept running.
func (n *nodeProcesses) run(ctx context.Context) error {
	layout, options := n.inner.layout, n.inner.options
	pulls, err := startPulls(ctx, layout, options.PullFrom, n.logger)
	if err != nil {
		return err
	}
	defer pulls.stop()
	containerd, err := newContainerd(layout, options, n.pods, pulls.address())
	if err != nil {
		return err
	}
	defer func() { _ = containerd.log.Close() }() // Every line was written at once.

	runtimeCtx, stopRuntime := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRuntime()
	runtimeEnded := make(chan error, 1)
	go func() {
		runtimeEnded <- keepRunning(runtimeCtx, "containerd"+n.name, containerd.start, n.status, n.logger)
	}()
	answering := make(chan error, 1)
	go func() {
		if err := containerd.waitForSocket(runtimeCtx); err != nil {
			answering <- nil // It ended; keepRunning says why.
			return
		}
		answering <- n.containerdDone()
	}()

	innerCtx, stopInner := context.WithCancel(ctx)
	defer stopInner()
	innerEnded := make(chan error, 1)
	go func() {
		innerEnded <- keepRunning(innerCtx, "the inner process"+n.name, n.inner.start, n.status, n.logger)
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
