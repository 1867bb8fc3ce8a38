package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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
)

// Phases is all of them; a host is running when all are done.
var Phases = []PhaseName{
	PhaseNetwork, PhaseContainerd, PhaseDatastore, PhaseAPIServer,
	PhaseStorage, PhaseNodeRegistered, PhaseDNS, PhaseNodeReady,
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

// ErrHeld is returned by Lock when another process runs this host.
var ErrHeld = errors.New("another process runs this host")

// Lock makes the calling process the host of this data folder until the returned file is closed.
func (l Layout) Lock() (*os.File, error) {
	file, err := os.OpenFile(l.LockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data folder %s: %w", l.DataDir, ErrHeld)
		}
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := file.Truncate(0); err != nil {
		file.Close()
		return nil, fmt.Errorf("write the lock of the data folder: %w", err)
	}
	if _, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		file.Close()
		return nil, fmt.Errorf("write the lock of the data folder: %w", err)
	}
	return file, nil
}

// holder is the process that holds the lock, 0 when none does.
func (l Layout) holder() (int, error) {
	file, err := os.Open(l.LockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	defer file.Close()
	// A shared lock, so that two who ask do not take each other for the host.
	err = unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, fmt.Errorf("look at the lock of the data folder: %w", err)
	}
	content, err := os.ReadFile(l.LockFile())
	if err != nil {
		return 0, fmt.Errorf("read the lock of the data folder: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("read the lock of the data folder %s: %w", l.LockFile(), err)
	}
	return pid, nil
}
