package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// statusInterval is how often the status file is looked at while a host starts.
const statusInterval = 50 * time.Millisecond

// Start starts a host and returns when all phases have ended. Each phase is reported once to onPhase, which may be nil. A
// host that runs already is left as it is, with its phases reported as they were. When ctx ends first the host process is
// left running: Stop ends it.
func Start(ctx context.Context, options Options, onPhase func(Phase)) error {
	options.Complete()
	if err := options.Validate(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("a host needs root: it makes network namespaces, mounts and cgroups; run the command with sudo")
	}
	layout, err := NewLayout(options.DataDir)
	if err != nil {
		return err
	}
	options.DataDir = layout.DataDir
	status, err := layout.status()
	if err != nil {
		return err
	}
	var process *launched
	if status.PID == 0 {
		if process, err = launch(layout, options); err != nil {
			return err
		}
	} else if err := sameOptions(status, options); err != nil {
		return err
	}
	return follow(ctx, layout, process, len(options.Phases()), onPhase)
}

func sameOptions(status Status, options Options) error {
	running := status.Options
	isSame := running.APIPort == options.APIPort && running.FrontDoorPort == options.FrontDoorPort &&
		running.Egress == options.Egress && max(running.Nodes, 1) == options.Nodes && slices.Equal(running.PullFrom, options.PullFrom)
	if running.APIPort == 0 || isSame {
		return nil
	}
	return fmt.Errorf("the host of %s runs already with --api-port %d --front-door-port %d --egress %s --nodes %d --pull-from %q; stop it first to start it with others",
		options.DataDir, running.APIPort, running.FrontDoorPort, running.Egress, max(running.Nodes, 1), strings.Join(running.PullFrom, ","))
}

// launched is a host process that this process has started.
type launched struct {
	pid    int
	exited chan error
}

// launch starts the host process so that it outlives the caller.
func launch(layout Layout, options Options) (*launched, error) {
	if err := os.MkdirAll(layout.Data("logs"), 0o711); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	output, err := os.Create(layout.StartLog())
	if err != nil {
		return nil, fmt.Errorf("make the log of the start: %w", err)
	}
	defer output.Close()
	//nolint:noctx // the host outlives the command that starts it, and so that command's context
	command := exec.Command(options.Matryd, options.Arguments()...)
	command.Stdout, command.Stderr = output, output
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", options.Matryd, err)
	}
	process := &launched{pid: command.Process.Pid, exited: make(chan error, 1)}
	// The wait ends with the child or with this process, whichever is first; there is nobody else to do it.
	go func() { process.exited <- command.Wait() }()
	return process, nil
}

// follow reports phases until the host runs, fails or ctx ends.
func follow(ctx context.Context, layout Layout, process *launched, phases int, onPhase func(Phase)) error {
	var exited chan error
	if process != nil {
		exited = process.exited
	}
	reported := 0
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		status, err := layout.status()
		if err != nil {
			return err
		}
		if process == nil || status.PID == process.pid {
			for ; reported < len(status.Phases); reported++ {
				if onPhase != nil {
					onPhase(status.Phases[reported])
				}
			}
			if status.State == Running {
				return nil
			}
		}
		if process == nil && status.PID == 0 {
			return startFailure(layout, nil, errors.New("the host process ended"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the host: %w (%d of %d phases done; the log is %s)", ctx.Err(), reported, phases, layout.LogFile())
		case err := <-exited:
			return startFailure(layout, process, err)
		case <-tick.C:
		}
	}
}

// startFailure says why the host process ended: what it put into the status, or else what it printed. A process that has
// ended before it had a status has left that of an earlier one in place.
func startFailure(layout Layout, process *launched, exit error) error {
	status, err := readStatus(layout.StatusFile())
	if err == nil && status.State == Failed && status.Error != "" && (process == nil || status.PID == process.pid) {
		return errors.New(status.Error)
	}
	printed, err := os.ReadFile(layout.StartLog())
	if err != nil {
		printed = nil
	}
	const most = 2000
	text := strings.TrimSpace(string(printed))
	if len(text) > most {
		text = "..." + text[len(text)-most:]
	}
	if text != "" {
		return errors.New(strings.TrimPrefix(text, "Error: "))
	}
	if exit == nil {
		return fmt.Errorf("the host ended early, without an error; its log is %s", layout.LogFile())
	}
	return fmt.Errorf("the host ended early: %w; its log is %s", exit, layout.LogFile())
}
