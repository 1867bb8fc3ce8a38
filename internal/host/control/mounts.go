package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unmountAll unmounts everything at or below the folders, the latest first. The kubelet mounts its own folder on itself.
func unmountAll(folders ...string) error {
	var errs []error
	for _, folder := range folders {
		mounts, err := mountsBelow(filepath.Dir(folder))
		if err != nil {
			return err
		}
		mounts = slices.DeleteFunc(mounts, func(mount string) bool {
			return mount != folder && !strings.HasPrefix(mount, folder+"/")
		})
		for i := len(mounts) - 1; i >= 0; i-- {
			err := unix.Unmount(mounts[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("unmount %s: %w", mounts[i], err))
			}
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists the mounts strictly below the folder, in the order in which they were made. The folder itself may be a
// mount of the administrator's.
func mountsBelow(folder string) ([]string, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return parseMounts(string(content), folder), nil
}

func parseMounts(mountinfo, folder string) []string {
	var mounts []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		path := unescapeMount(fields[4])
		if strings.HasPrefix(path, folder+"/") {
			mounts = append(mounts, path)
		}
	}
	return mounts
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(path string) string {
	if !strings.Contains(path, `\`) {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if code, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
