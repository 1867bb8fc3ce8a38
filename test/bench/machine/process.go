package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is one process of this machine.
type Process struct{ PID int }

// OfPod is the one process of a pod, known by its UID, whose command line has a word in it.
func OfPod(uid, word string) (Process, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return Process{}, err
	}
	var found []int
	for _, folder := range folders {
		cgroup, err := os.ReadFile(filepath.Join(folder, "cgroup"))
		if err != nil || !namesPod(string(cgroup), uid) {
			continue // another pod's, or ended meanwhile
		}
		cmdline, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || !bytes.Contains(cmdline, []byte(word)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			return Process{}, err
		}
		found = append(found, pid)
	}
	if len(found) != 1 {
		return Process{}, fmt.Errorf("pod %s has the processes %v with %q in their command line, want one", uid, found, word)
	}
	return Process{PID: found[0]}, nil
}

// namesPod looks for the UID in both spellings: the systemd driver of cgroups writes '_' where the UID has '-'.
func namesPod(cgroup, uid string) bool {
	return strings.Contains(cgroup, "pod"+uid) || strings.Contains(cgroup, "pod"+strings.ReplaceAll(uid, "-", "_"))
}

// Private is the memory that the process shares with nobody and that is in no file (RssAnon), in bytes.
func (p Process) Private() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", p.PID, err)
	}
	kib, err := kibibytes(string(status), "RssAnon")
	return kib << 10, err
}

// CPU is what the process has used of all processors so far.
func (p Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of process %d: %w", p.PID, err)
	}
	return parseCPU(string(stat))
}

func parseCPU(stat string) (time.Duration, error) {
	// The name in parentheses may contain spaces and parentheses; what is wanted are fields 14 and 15.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q is not what /proc/PID/stat holds", stat)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		ticks += n
	}
	// The kernel tells user programs of 100 ticks a second, whatever it uses itself.
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// Marked are the processes that have a variable in their environment and are in no cgroup of a name.
func Marked(variable, notIn string) ([]Process, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, folder := range folders {
		environment, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil || !hasVariable(environment, variable) {
			continue // not ours to read, or ended meanwhile
		}
		cgroup, err := os.ReadFile(filepath.Join(folder, "cgroup"))
		if err != nil || strings.Contains(string(cgroup), notIn) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			return nil, err
		}
		found = append(found, Process{PID: pid})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no process has %s in its environment", variable)
	}
	return found, nil
}

func hasVariable(environment []byte, variable string) bool {
	for each := range bytes.SplitSeq(environment, []byte{0}) {
		if string(each) == variable {
			return true
		}
	}
	return false
}
