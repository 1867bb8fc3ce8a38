// Package machine reads from /proc and from the cgroups what this machine is, what it has to do, and what a process uses.
//
// It changes nothing. What it tells of the machine names no host, no user and no path, since it is published.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Describe says what the machine is in one line.
func Describe() (string, error) {
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("read what the processors are: %w", err)
	}
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", fmt.Errorf("read how much memory there is: %w", err)
	}
	total, err := kibibytes(string(memory), "MemTotal")
	if err != nil {
		return "", err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("ask for the kernel's version: %w", err)
	}
	return fmt.Sprintf("%d cores (%s), %.0f GiB of memory, Linux %s, cgroup %s",
		runtime.NumCPU(), model(string(cpus)), float64(total)/(1<<20), mainVersion(unix.ByteSliceToString(name.Release[:])), cgroupVersion()), nil
}

func model(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// mainVersion is 6.18 of 6.18.44-some-build: the rest may be somebody's name.
func mainVersion(release string) string {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return "unknown"
	}
	return parts[0] + "." + parts[1]
}

// kibibytes reads one line of /proc/meminfo or of /proc/PID/status.
func kibibytes(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == key+":" && fields[2] == "kB" {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("the kernel does not tell %s", key)
}
