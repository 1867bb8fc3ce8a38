package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//nolint:dupword // the kernel writes the type of a file system and then its source, which may be the same word
const mountinfo = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
24 23 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
25 23 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
30 22 0:30 / /data rw - ext4 /dev/vdb rw
31 30 0:31 / /data/kubelet/pods/a/volumes/x\040y rw - tmpfs tmpfs rw
32 30 0:32 / /data/containerd/b rw - overlay overlay rw
33 22 0:33 / /database rw - ext4 /dev/vdc rw
`

func TestMountsBelow(t *testing.T) {
	want := []string{"/data/kubelet/pods/a/volumes/x y", "/data/containerd/b"}
	if diff := cmp.Diff(want, parseMounts(mountinfo, "/data")); diff != "" {
		t.Errorf("mounts below /data (-want +got):\n%s", diff)
	}
}

func TestCgroupMountsOfAHybridMachine(t *testing.T) {
	want := []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"}
	if diff := cmp.Diff(want, cgroupMounts(mountinfo, "/sys/fs/cgroup")); diff != "" {
		t.Errorf("cgroup hierarchies (-want +got):\n%s", diff)
	}
}

func TestImportedImages(t *testing.T) {
	output := "unpacking example.org/a:v1 (sha256:0123)...done\nunpacking example.org/b:v1 (sha256:4567)...done\nelapsed: 0.1s\n"
	if diff := cmp.Diff([]string{"example.org/a:v1", "example.org/b:v1"}, importedImages(output)); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestValidateNamesEveryFlag(t *testing.T) {
	programs := t.TempDir()
	for _, program := range Programs {
		if err := os.WriteFile(filepath.Join(programs, program), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	good := Options{DataDir: "/d", ProgramsDir: programs}
	good.Complete()
	if err := good.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	bad := Options{DataDir: "", APIPort: -1, FrontDoorPort: 70000, ProgramsDir: t.TempDir(), Egress: "some"}
	err := bad.Validate()
	if err == nil {
		t.Fatal("nothing was found")
	}
	for _, flag := range []string{"--data-dir", "--api-port", "--front-door-port", "--programs-dir", "--egress"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is missing in %q", flag, err)
		}
	}
	same := good
	same.FrontDoorPort = same.APIPort
	if same.Validate() == nil {
		t.Error("one port for two purposes was accepted")
	}
}

func TestRemoveCgroupRemovesFoldersOnly(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "host", "pod", "container"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroup(filepath.Join(root, "host")); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroup(filepath.Join(root, "host")); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
