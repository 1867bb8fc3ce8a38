package supervisor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// The hidden commands below `matryd host`: that of the inner process, and that of the second node.
const (
	InnerCommand  = "inner"
	WorkerCommand = "worker"
)

// The files that the inner process inherits.
const (
	APIListenerFile = 3 + iota
	FrontDoorListenerFile
	ReportFile
)

// WorkerReportFile is the only file that the second node's process inherits.
const WorkerReportFile = 3

// Report is one line that the inner process writes: the end of a phase, or why it ends.
type Report struct {
	Phase control.PhaseName `json:"phase,omitempty"`
	Took  time.Duration     `json:"took,omitempty"`
	Error string            `json:"error,omitempty"`
}

// maxReport bounds a line of the inner process.
const maxReport = 64 << 10

// innerProcess runs this program again, inside the network namespace of a node.
type innerProcess struct {
	layout  control.Layout // the node's
	command string
	options control.Options
	// files are inherited, before the one for reports.
	files    []*os.File
	upstream string
	status   *statusWriter
	log      io.Writer
}

func (p *innerProcess) start() (*runningProcess, error) {
	reports, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe for reports: %w", err)
	}
	defer write.Close()
	args := append([]string{"host", p.command}, p.options.Arguments()[1:]...)
	if p.upstream != "" {
		args = append(args, "--dns-upstream", p.upstream)
	}
	// Not by its path: the program may have been replaced by a newer one.
	//nolint:noctx // keepRunning ends it, with SIGTERM first; a context would kill it
	command := exec.Command("/proc/self/exe", args...)
	command.Args[0] = "matryd"
	command.ExtraFiles = append(slices.Clone(p.files), write)
	running, err := startInside(p.layout, command, p.log)
	if err != nil {
		reports.Close()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		// The pipe ends with the process.
		reason := p.follow(reports)
		reports.Close()
		exit := <-running.ended
		ended <- endReason(reason, exit)
	}()
	return &runningProcess{process: running.process, ended: ended}, nil
}

// follow notes phases until the process ends, and returns the reason that it gave.
func (p *innerProcess) follow(reports io.Reader) error {
	var reason error
	lines := bufio.NewScanner(reports)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		var report Report
		if err := json.Unmarshal(lines.Bytes(), &report); err != nil {
			reason = fmt.Errorf("read a report of the inner process: %w", err)
			continue
		}
		if report.Error != "" {
			reason = errors.New(report.Error)
			continue
		}
		if err := p.status.ended(report.Phase, report.Took); err != nil {
			reason = err
		}
	}
	if err := lines.Err(); err != nil && reason == nil {
		reason = fmt.Errorf("read the reports of the inner process: %w", err)
	}
	return reason
}

func endReason(reason, exit error) error {
	if reason != nil {
		return reason
	}
	if exit != nil {
		return fmt.Errorf("the inner process ended: %w; see its log", exit)
	}
	return nil
}
