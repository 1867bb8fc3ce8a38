package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLayoutOfOneFolderIsOneHost(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(folder, link); err != nil {
		t.Fatal(err)
	}
	direct, err := NewLayout(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []string{link, folder + "/", filepath.Join(folder, "x", "..")} {
		layout, err := NewLayout(spelling)
		if err != nil {
			t.Fatal(err)
		}
		if layout != direct {
			t.Errorf("NewLayout(%q) = %+v, want that of %q: %+v", spelling, layout, folder, direct)
		}
	}
	other, err := NewLayout(filepath.Join(folder, "other"))
	if err != nil {
		t.Fatal(err)
	}
	if other.ID == direct.ID {
		t.Errorf("two folders have the ID %s", other.ID)
	}
}

func TestLayoutKeepsSocketPathsShort(t *testing.T) {
	layout, err := NewLayout("/" + strings.Repeat("d", maxDataDir-1))
	if err != nil {
		t.Fatal(err)
	}
	// The longest that the kubelet makes below the data folder.
	longest := layout.Data("kubelet", "device-plugins", "kubelet.sock")
	if len(longest) >= 108 {
		t.Errorf("the socket path %s has %d characters", longest, len(longest))
	}
	if _, err := NewLayout("/" + strings.Repeat("d", maxDataDir)); err == nil {
		t.Error("a data folder with a longer path was accepted")
	}
	for _, bad := range []string{"/a,b", "/a:b", "/a?b", "/a#b", "/a%b", "/a\nb"} {
		if _, err := NewLayout(bad); err == nil {
			t.Errorf("the data folder %q was accepted", bad)
		}
	}
	if _, err := NewLayout(""); err == nil {
		t.Error("no data folder was accepted")
	}
}

func TestWorkerHasAPlaceOfItsOwnInTheHost(t *testing.T) {
	host, err := NewLayout("/data")
	if err != nil {
		t.Fatal(err)
	}
	worker := host.Worker()
	for first, second := range map[string]string{
		host.Data("kubelet"): worker.Data("kubelet"), host.Run("netns"): worker.Run("netns"),
		host.CgroupRoot(): worker.CgroupRoot(), host.ContainerdSocket(): worker.ContainerdSocket(), host.NetworkName(): worker.NetworkName(),
	} {
		if first == second {
			t.Errorf("both nodes use %s", first)
		}
	}
	// What is removed with the host is found by these.
	if !strings.HasPrefix(worker.Run(), host.Run()+"/") || !strings.HasPrefix(worker.CgroupRoot(), host.CgroupRoot()+"/") ||
		!strings.HasPrefix(worker.NetworkName(), host.NetworkName()+"-") || worker.processMark() != host.processMark() {
		t.Errorf("%s, %s or %s is outside of the host", worker.Run(), worker.CgroupRoot(), worker.NetworkName())
	}
	if len(host.Nodes(1)) != 1 || len(host.Nodes(2)) != 2 || worker.Registries() != host.Registries() {
		t.Error("the nodes are counted wrong, or configure registries apart")
	}
}
