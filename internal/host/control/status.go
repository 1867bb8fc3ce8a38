package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// PhaseName is one step of a start.
type PhaseName string

// The phases of a start, in the order in which they usually end. Some run side by side.
const (
	PhaseNetwork        PhaseName = "network"
	PhaseContainerd     PhaseName = "containerd"
	PhaseDatastore      PhaseName = "datastore"
	PhaseAPIServer      PhaseName = "API server"
	PhaseStorage        PhaseName = "storage"
	PhaseNodeRegistered PhaseName = "node registered"
	PhaseDNS            PhaseName = "DNS"
	PhaseNodeReady      PhaseName = "node Ready"
	// PhaseWorkerReady is that of a host with two nodes only.
	PhaseWorkerReady PhaseName = "second node Ready"
)

// Phases is all of them; a host is running when all are done.
func (o *Options) Phases() []PhaseName {
	phases := []PhaseName{
		PhaseNetwork, PhaseContainerd, PhaseDatastore, PhaseAPIServer,
		PhaseStorage, PhaseNodeRegistered, PhaseDNS, PhaseNodeReady,
	}
	if o.Nodes > 1 {
		phases = append(phases, PhaseWorkerReady)
	}
	return phases
}

// Phase is one step that has ended.
type Phase struct {
	Name PhaseName `json:"name"`
	// At is the time from the start of the host process to the end of the phase.
	At time.Duration `json:"at"`
	// Took is the time that the phase itself took.
	Took time.Duration `json:"took"`
}

// State of a host.
type State string

// The states of a host.
const (
	Stopped  State = "Stopped"
	Starting State = "Starting"
	Running  State = "Running"
	Failed   State = "Failed"
)

// Status is what is known of a host.
type Status struct {
	State State `json:"state"`
	// PID of the host process; 0 when it does not run.
	PID int `json:"pid,omitempty"`
	// StartedAt is when the host process was started.
	StartedAt time.Time `json:"startedAt,omitempty"`
	// Options the host was started with.
	Options Options `json:"options"`
	// Phases that have ended, in that order.
	Phases []Phase `json:"phases,omitempty"`
	// Error says why the host failed.
	Error string `json:"error,omitempty"`
	// Restarts counts how often the host had to start one of its processes again.
	Restarts int `json:"restarts,omitempty"`
}

// GetStatus of the host with this data folder. A host that does not run is no error.
func GetStatus(dataDir string) (Status, error) {
	layout, err := NewLayout(dataDir)
	if err != nil {
		return Status{}, err
	}
	return layout.status()
}

func (l Layout) status() (Status, error) {
	pid, err := l.holder()
	if err != nil {
		return Status{}, err
	}
	status, err := readStatus(l.StatusFile())
	if err != nil {
		return Status{}, err
	}
	switch {
	case pid == 0 && status.State != Failed:
		status.State = Stopped
	case pid != 0 && status.PID != pid:
		// The file is of an earlier process: the new one holds the lock but has not written yet.
		status = Status{State: Starting}
	}
	status.PID = pid
	return status, nil
}

func readStatus(path string) (Status, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Status{State: Stopped}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("read the status of the host: %w", err)
	}
	var status Status
	if err := json.Unmarshal(content, &status); err != nil {
		return Status{}, fmt.Errorf("read the status of the host in %s: %w", path, err)
	}
	return status, nil
}

// WriteStatus replaces the status file; only the host process calls it.
func (l Layout) WriteStatus(status Status) error {
	content, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	next := l.StatusFile() + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return os.Rename(next, l.StatusFile())
}
