package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ownEntries are what a host makes in its data folder; the lock comes last.
var ownEntries = []string{
	"kubeconfig", "datastore", "volumes", "containerd", "registries", "kubelet", "pod-logs", "container-logs", "pki", "logs", worker,
	"up.lock", "host.lock",
}

// ImageArchives is the pattern of temporary archives in the data folder, which a killed command may leave.
const ImageArchives = "images-*.tar"

// purgeData removes what the host has made in the data folder, and the folder when nothing else is in it: somebody may have
// taken a folder with other things.
func purgeData(layout Layout) error {
	if _, err := os.Stat(layout.DataDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(layout.LockFile()); err != nil {
		return fmt.Errorf("remove the data folder %s: it is not the data folder of a host (it has no %s): %w", layout.DataDir, filepath.Base(layout.LockFile()), err)
	}
	mounts, err := mountsBelow(layout.DataDir)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		// Removing through a mount would remove what is mounted.
		return fmt.Errorf("remove the data folder %s: %s is still mounted", layout.DataDir, mounts[0])
	}
	entries, err := os.ReadDir(layout.DataDir)
	if err != nil {
		return fmt.Errorf("list the data folder: %w", err)
	}
	names := []string{}
	for _, entry := range entries {
		if isArchive, err := filepath.Match(ImageArchives, entry.Name()); err == nil && isArchive {
			names = append(names, entry.Name())
		}
	}
	for _, name := range append(names, ownEntries...) {
		if err := os.RemoveAll(layout.Data(name)); err != nil {
			return fmt.Errorf("remove the data folder: %w", err)
		}
	}
	err = os.Remove(layout.DataDir)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) || errors.Is(err, fs.ErrNotExist) {
		return nil // What others have put there stays; and so does a mount of the administrator's.
	}
	return err
}
