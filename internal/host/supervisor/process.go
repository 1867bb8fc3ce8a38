package supervisor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

const (
	// maxRestarts in a row of a process that never ran longer than steadyAfter.
	maxRestarts = 5
	steadyAfter = 30 * time.Second
	// termGrace is how long a process gets after SIGTERM.
	termGrace = 8 * time.Second
)

// runningProcess has been started.
type runningProcess struct {
	process *os.Process
	ended   <-chan error
}

// keepRunning starts a process again whenever it ends by itself. It returns nil when ctx ends, after the process has, and an
// error when the process cannot be kept running: at once while the host starts, since then the cause is not going to
// go away.
func keepRunning(ctx context.Context, name string, start func() (*runningProcess, error), status *statusWriter, logger *slog.Logger) error {
	restarts := 0
	for {
		begin := time.Now()
		running, err := start()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			logger.Info("A process of the host was stopped", "process", name, "exit", endProcess(running))
			return nil
		case err = <-running.ended:
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is what the caller wants, not an error
		}
		if err == nil {
			err = fmt.Errorf("%s ended by itself", name)
		}
		if time.Since(begin) > steadyAfter {
			restarts = 0
		}
		if restarts++; !status.isRunning() || restarts > maxRestarts {
			return err
		}
		logger.Error("A process of the host ended and is started again", "process", name, "error", err)
		if err := status.restarted(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(restarts) * 200 * time.Millisecond):
		}
	}
}

// endProcess asks a process to end and kills it when it does not; it returns how the process ended. Errors of the
// signals mean that it has ended.
func endProcess(running *runningProcess) error {
	_ = running.process.Signal(syscall.SIGTERM)
	select {
	case err := <-running.ended:
		return err
	case <-time.After(termGrace):
	}
	_ = running.process.Kill()
	return <-running.ended
}

// startInside starts a program in the host's network namespace. It dies with the supervisor.
func startInside(layout control.Layout, command *exec.Cmd, log io.Writer) (*runningProcess, error) {
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	// A process that has ended may have left its output to a child, such as a shim; its end does not wait for theirs.
	command.WaitDelay = time.Second
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env, control.ProcessMark+"="+layout.ID)
	ended, err := network.StartInside(layout.NetworkNamespace(), command)
	if err != nil {
		return nil, err
	}
	return &runningProcess{process: command.Process, ended: ended}, nil
}
