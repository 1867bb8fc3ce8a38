package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownProcess is a process of a host other than the host process itself.
type ownProcess struct {
	pid int
	// inPod: the process runs in a container, and gets a chance to end by itself.
	inPod bool
}

// endProcesses ends everything that the host has started: first the processes of the node, so that nothing is started
// again, then the containers with a short grace.
func endProcesses(ctx context.Context, layout Layout) error {
	processes, err := ownProcesses(layout)
	if err != nil {
		return err
	}
	signalAll(processes, false, unix.SIGKILL)
	signalAll(processes, true, unix.SIGTERM)
	podsGone := func() (bool, error) {
		left, err := ownProcesses(layout)
		for _, process := range left {
			if process.inPod {
				return false, err
			}
		}
		return true, err
	}
	if _, err := waitFor(ctx, podGrace, podsGone); err != nil {
		return fmt.Errorf("wait for the end of the pods: %w", err)
	}
	var left []ownProcess
	gone, err := waitFor(ctx, killDeadline, func() (bool, error) {
		var err error
		left, err = ownProcesses(layout)
		signalAll(left, false, unix.SIGKILL)
		signalAll(left, true, unix.SIGKILL)
		return len(left) == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait for the end of the host's processes: %w", err)
	}
	if !gone {
		return fmt.Errorf("%d processes of the host do not end, process %d for one", len(left), left[0].pid)
	}
	return nil
}

func signalAll(processes []ownProcess, inPod bool, signal unix.Signal) {
	for _, process := range processes {
		if process.inPod == inPod {
			// It may be gone already; who stays is seen by the next look.
			_ = unix.Kill(process.pid, signal)
		}
	}
}

// ownProcesses finds the processes of a host: those in its cgroups are its pods; those with its mark in the environment
// are its programs (containerd hands it down to its shims). Zombies do not count: they are their parent's.
func ownProcesses(layout Layout) ([]ownProcess, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var own []ownProcess
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if isZombie(pid) {
			continue
		}
		switch {
		case inCgroup(pid, layout.CgroupRoot()):
			own = append(own, ownProcess{pid: pid, inPod: true})
		case hasMark(pid, layout.processMark()):
			own = append(own, ownProcess{pid: pid})
		}
	}
	return own, nil
}

// inCgroup says whether the process is in the cgroup or below it, in any hierarchy.
func inCgroup(pid int, cgroup string) bool {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(content)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && (parts[2] == cgroup || strings.HasPrefix(parts[2], cgroup+"/")) {
			return true
		}
	}
	return false
}

func hasMark(pid int, mark string) bool {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(content, []byte{0}) {
		if string(variable) == mark {
			return true
		}
	}
	return false
}

func isZombie(pid int) bool {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	// The name, in brackets, may hold anything; the state follows the last bracket.
	end := bytes.LastIndexByte(content, ')')
	return end >= 0 && len(content) > end+2 && content[end+2] == 'Z'
}

// EndPrograms kills what a killed host has left of its programs, apart from the shims: those keep the pods alive until a
// new containerd finds them.
func EndPrograms(ctx context.Context, layout Layout) error {
	gone, err := waitFor(ctx, killDeadline, func() (bool, error) {
		processes, err := ownProcesses(layout)
		if err != nil {
			return false, err
		}
		left := 0
		for _, process := range processes {
			if process.inPod || isShim(process.pid) {
				continue
			}
			left++
			_ = unix.Kill(process.pid, unix.SIGKILL) // Who stays is seen by the next look.
		}
		return left == 0, nil
	})
	if err != nil {
		return fmt.Errorf("end the programs of the killed host: %w", err)
	}
	if !gone {
		return errors.New("end the programs of the killed host: some do not end")
	}
	return nil
}

func isShim(pid int) bool {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return err == nil && strings.HasPrefix(string(content), "containerd-shim")
}
