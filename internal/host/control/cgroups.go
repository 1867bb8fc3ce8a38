package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Cgroups is how the machine's cgroup hierarchies are mounted.
type Cgroups struct {
	// V2 says that the unified hierarchy alone manages resources.
	V2 bool
	// Mounts are the roots of all hierarchies, of both versions on a hybrid machine.
	Mounts []string
}

// FindCgroups looks at /sys/fs/cgroup.
func FindCgroups() (Cgroups, error) {
	const root = "/sys/fs/cgroup"
	var stat unix.Statfs_t
	if err := unix.Statfs(root, &stat); err != nil {
		return Cgroups{}, fmt.Errorf("look at %s: %w; mount the cgroup file systems there", root, err)
	}
	if stat.Type == unix.CGROUP2_SUPER_MAGIC {
		return Cgroups{V2: true, Mounts: []string{root}}, nil
	}
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Cgroups{}, fmt.Errorf("list mounts: %w", err)
	}
	mounts := cgroupMounts(string(content), root)
	if len(mounts) == 0 {
		return Cgroups{}, fmt.Errorf("no cgroup hierarchy is mounted below %s; mount cgroup2 there", root)
	}
	return Cgroups{Mounts: mounts}, nil
}

func cgroupMounts(mountinfo, root string) []string {
	var mounts []string
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		fields, types := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(types) == 0 || !strings.HasPrefix(types[0], "cgroup") {
			continue
		}
		if path := unescapeMount(fields[4]); strings.HasPrefix(path, root+"/") {
			mounts = append(mounts, path)
		}
	}
	return mounts
}

// removeCgroups removes the host's cgroup with all below it from every hierarchy. A process that was killed leaves its
// cgroup only when its last thread has ended, some time after it looks like a zombie; until then the kernel says busy.
func removeCgroups(ctx context.Context, layout Layout) error {
	cgroups, err := FindCgroups()
	if err != nil {
		return err
	}
	var busy error
	_, err = waitFor(ctx, killDeadline, func() (bool, error) {
		busy = removeCgroupsOnce(cgroups, layout)
		return !errors.Is(busy, unix.EBUSY), nil
	})
	return errors.Join(err, busy)
}

func removeCgroupsOnce(cgroups Cgroups, layout Layout) error {
	var errs []error
	for _, mount := range cgroups.Mounts {
		if err := removeCgroup(filepath.Join(mount, layout.CgroupRoot())); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeCgroup removes folders only: the files in a cgroup are not files, and go with it.
func removeCgroup(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list cgroup %s: %w", path, err)
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := removeCgroup(filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup %s: %w", path, err)
	}
	return nil
}
