package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// leftovers says what a stopped host has left on the machine: processes, mounts, network namespaces, links, cgroups,
// firewall tables and files outside of its data folder. It looks at the machine for the host's data folder and ID, not
// at what the host believes to have made.
func (h *host) leftovers() error {
	layout, err := control.NewLayout(h.dataDir)
	if err != nil {
		return err
	}
	marks := []string{layout.ID, layout.DataDir}
	var found []error
	for _, look := range []func([]string) ([]string, error){processes, mounts, cgroups, links, runFiles} {
		left, err := look(marks)
		if err != nil {
			found = append(found, err)
		}
		for _, what := range left {
			found = append(found, fmt.Errorf("matry down left %s", what))
		}
	}
	return errors.Join(found...)
}

func containsAny(text string, marks []string) bool {
	for _, mark := range marks {
		if strings.Contains(text, mark) {
			return true
		}
	}
	return false
}

// processes finds those with a mark in their command line or environment, but for this test and its parents: their
// environment may name the folder.
func processes(marks []string) ([]string, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var left []string
	for _, folder := range folders {
		cmdline, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || len(cmdline) == 0 {
			continue
		}
		environment, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil {
			continue
		}
		environment = withoutTestVariables(environment)
		if containsAny(string(cmdline)+string(environment), marks) {
			left = append(left, fmt.Sprintf("process %s: %s", filepath.Base(folder), bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return left, nil
}

func withoutTestVariables(environment []byte) []byte {
	var kept [][]byte
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if !bytes.HasPrefix(variable, []byte("MATRY_TEST_DIR=")) {
			kept = append(kept, variable)
		}
	}
	return bytes.Join(kept, []byte{0})
}

func mounts(marks []string) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var left []string
	for line := range strings.Lines(string(table)) {
		if containsAny(line, marks) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	return left, nil
}

func cgroups(marks []string) ([]string, error) {
	var left []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		// A cgroup may go while this looks at it.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() && containsAny(path, marks) {
			left = append(left, "cgroup "+path)
			return fs.SkipDir
		}
		return err
	})
	return left, err
}

func links(marks []string) ([]string, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the links: %w", err)
	}
	var left []string
	for _, link := range all {
		if containsAny(link.Attrs().Name, marks) {
			left = append(left, "link "+link.Attrs().Name)
		}
	}
	return left, nil
}

// runFiles finds files outside of the data folder, pinned network namespaces among them.
func runFiles(marks []string) ([]string, error) {
	var left []string
	for _, pattern := range []string{"/run/*/*", "/run/netns/*", "/var/lib/cni/*/*", "/var/log/pods/*", "/var/log/containers/*", "/etc/cni/*/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			target, err := os.Readlink(name)
			if err != nil {
				target = ""
			}
			if containsAny(name+" "+target, marks) {
				left = append(left, "file "+name)
			}
		}
	}
	return left, nil
}
