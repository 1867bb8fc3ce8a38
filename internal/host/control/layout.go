package control

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDataDir leaves room for the longest socket path that the kubelet makes below the data folder: the kernel takes no
// path of a unix socket of 108 bytes or more.
const maxDataDir = 64

// runRoot holds one folder per host for sockets, pinned namespaces and the state of containerd.
const runRoot = "/run/matryoshka"

// Layout says where the things of one host are.
type Layout struct {
	// DataDir is the absolute path of the data folder.
	DataDir string
	// ID names everything that the host has outside of the data folder. It follows from DataDir.
	ID string
	// node is empty for the first node, whose folders are the host's own, or the name of the worker's folders.
	node string
}

// worker is what the second node has in the names of its folders and cgroups.
const worker = "worker"

// Worker is the layout of the second node: the same host, with folders, a network namespace and cgroups of its own below.
func (l Layout) Worker() Layout {
	l.node = worker
	return l
}

// Nodes are the layouts of so many nodes, 1 or 2.
func (l Layout) Nodes(count int) []Layout {
	if count < 2 {
		return []Layout{l}
	}
	return []Layout{l, l.Worker()}
}

// NewLayout returns the layout of the host with this data folder. The folder need not exist.
func NewLayout(dataDir string) (Layout, error) {
	if dataDir == "" {
		return Layout{}, fmt.Errorf("no data folder given")
	}
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return Layout{}, fmt.Errorf("data folder %q: %w", dataDir, err)
	}
	// Two spellings of one folder must give one host.
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		abs = resolved
	} else if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	if len(abs) > maxDataDir {
		return Layout{}, fmt.Errorf("data folder %q: the path has %d characters, the limit is %d (unix sockets below it must stay under 108); choose a shorter one", abs, len(abs), maxDataDir)
	}
	if at := strings.IndexFunc(abs, isUnusable); at >= 0 {
		r, _ := utf8.DecodeRuneInString(abs[at:])
		return Layout{}, fmt.Errorf("data folder %q: mounts and databases cannot be below a path with %q in it; choose another one", abs, r)
	}
	sum := sha256.Sum256([]byte(abs))
	return Layout{DataDir: abs, ID: hex.EncodeToString(sum[:4])}, nil
}

// isUnusable says that a character separates something in the options of overlay mounts or in the URIs of SQLite.
func isUnusable(r rune) bool {
	return strings.ContainsRune(`,:"\?#%`, r) || !unicode.IsPrint(r)
}

// Data is a path in the data folder: what survives Stop.
func (l Layout) Data(elements ...string) string {
	return filepath.Join(append([]string{l.DataDir, l.node}, elements...)...)
}

// Run is a path in the folder of sockets and other things that end with the host.
func (l Layout) Run(elements ...string) string {
	return filepath.Join(append([]string{runRoot, l.ID, l.node}, elements...)...)
}

// Kubeconfig of the administrator, for use from the machine.
func (l Layout) Kubeconfig() string { return l.Data("kubeconfig") }

// LogFile has the log of the host process and of everything in it.
func (l Layout) LogFile() string { return l.Data("logs", "host.log") }

// StartLog has what the host process printed before it had a log.
func (l Layout) StartLog() string { return l.Data("logs", "start.log") }

// LockFile is locked for as long as the host process lives, and holds its process ID.
func (l Layout) LockFile() string { return l.Data("host.lock") }

// StatusFile is written by the host process; see Status.
func (l Layout) StatusFile() string { return l.Run("status.json") }

// NetworkNamespace is where the host's network namespace is pinned.
func (l Layout) NetworkNamespace() string { return l.Run("netns") }

// ContainerdSocket is where containerd listens.
func (l Layout) ContainerdSocket() string { return l.Run("containerd.sock") }

// Registries is the folder in which an administrator configures registries, for all nodes.
func (l Layout) Registries() string { return filepath.Join(l.DataDir, "registries") }

// CgroupRoot is the cgroup of the node's pods, in every hierarchy of the machine. That of the worker is below the first node's.
func (l Layout) CgroupRoot() string { return filepath.Join("/matryoshka-"+l.ID, l.node) }

// NetworkName is the name of the node's pod network; CNI keeps files by it.
func (l Layout) NetworkName() string {
	return strings.TrimSuffix("matryoshka-"+l.ID+"-"+l.node, "-")
}

// EgressTable is the nftables table in the machine's own namespace; there is one only with egress by NAT.
func (l Layout) EgressTable() string { return "matryoshka-" + l.ID }

// EgressLink is the machine's end of the link into the host's namespace; there is one only with egress by NAT.
func (l Layout) EgressLink() string { return "mk" + l.ID }

// EgressMark is the file in the run folder that says that egress by NAT may have made something.
const EgressMark = "egress"

// processMark is in the environment of every process that the host starts, by which Stop knows them.
func (l Layout) processMark() string { return ProcessMark + "=" + l.ID }

// ProcessMark is the environment variable that holds the ID of the host that a process belongs to.
const ProcessMark = "MATRYOSHKA_HOST"
