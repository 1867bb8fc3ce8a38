package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// prepareCgroups makes the cgroup of all pods, which the kubelet wants to find.
func prepareCgroups(layout control.Layout) error {
	cgroups, err := control.FindCgroups()
	if err != nil {
		return err
	}
	for _, mount := range cgroups.Mounts {
		if cgroups.V2 {
			if err := enableControllers(mount); err != nil {
				return err
			}
		}
		path := filepath.Join(mount, layout.CgroupRoot())
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("make the cgroup %s: %w", path, err)
		}
		if filepath.Base(mount) == "cpuset" || strings.Contains(filepath.Base(mount), "cpuset,") {
			if err := inheritCPUSet(mount, path); err != nil {
				return err
			}
		}
		if cgroups.V2 {
			if err := enableControllers(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// enableControllers lets the children of a version 2 cgroup be limited.
func enableControllers(path string) error {
	content, err := os.ReadFile(filepath.Join(path, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("list the controllers of cgroup %s: %w", path, err)
	}
	wanted := map[string]bool{"cpu": true, "cpuset": true, "io": true, "memory": true, "pids": true, "hugetlb": true}
	var enable []string
	for _, controller := range strings.Fields(string(content)) {
		if wanted[controller] {
			enable = append(enable, "+"+controller)
		}
	}
	//nolint:gosec // the folder comes from the kernel's own list of mounts
	err = os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte(strings.Join(enable, " ")), 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("enable controllers in cgroup %s: %w; processes are in it directly, as in a container: move them to a cgroup below it", path, err)
	}
	if err != nil {
		return fmt.Errorf("enable controllers in cgroup %s: %w", path, err)
	}
	return nil
}

// inheritCPUSet copies the processors and memory nodes of the root: version 1 leaves them empty in a new cgroup, and then
// nothing can run in it.
func inheritCPUSet(from, to string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", name, from, err)
		}
		//nolint:gosec // the folder comes from the kernel's own list of mounts
		if err := os.WriteFile(filepath.Join(to, name), content, 0); err != nil {
			return fmt.Errorf("set %s of %s: %w", name, to, err)
		}
	}
	return nil
}
