package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

func isUnified() bool {
	var stat unix.Statfs_t
	return unix.Statfs(cgroupRoot, &stat) == nil && stat.Type == unix.CGROUP2_SUPER_MAGIC
}

func cgroupVersion() string {
	if isUnified() {
		return "v2"
	}
	return "v1"
}

// PodPrivate is the memory that is in no file of all processes of the pod that the process belongs to, in bytes.
func (p Process) PodPrivate() (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	if err != nil {
		return 0, fmt.Errorf("read the cgroups of process %d: %w", p.PID, err)
	}
	controller, key := "memory", "total_rss"
	if isUnified() {
		controller, key = "", "anon"
	}
	path, err := cgroupOf(string(content), controller)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", p.PID, err)
	}
	// The cgroup of the container is in that of the pod.
	stat, err := os.ReadFile(filepath.Join(cgroupRoot, controller, filepath.Dir(path), "memory.stat"))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a pod: %w", err)
	}
	return entry(string(stat), key)
}

// cgroupOf finds the path of one controller in /proc/PID/cgroup; that of the unified hierarchy has no name.
func cgroupOf(text, controller string) (string, error) {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && parts[1] == controller {
			return parts[2], nil
		}
	}
	return "", errors.New("it has no cgroup of memory")
}

func entry(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == key {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("memory.stat has no entry %q", key)
}
