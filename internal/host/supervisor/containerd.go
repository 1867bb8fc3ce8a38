package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
)

// containerdConfig: everything that containerd would share with another one on the machine is in folders of this host. The
// score for the out-of-memory killer can be lowered only with a capability that containers often lack.
const containerdConfig = `version = 3
root = %[1]q
state = %[2]q
disabled_plugins = [
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs", "io.containerd.mount-handler.v1.erofs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.image-verifier.v1.bindir",
]
required_plugins = ["io.containerd.metadata.v1.bolt", "io.containerd.grpc.v1.cri"]
[grpc]
  address = %[3]q
[plugins."io.containerd.internal.v1.opt"]
  path = %[4]q
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = %[5]q
[plugins."io.containerd.cri.v1.images"]
  snapshotter = %[6]q
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %[7]q
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = %[8]q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  cdi_spec_dirs = []
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%[9]q]
    conf_dir = %[10]q
    use_internal_loopback = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = %[11]q
      Root = %[12]q
      SystemdCgroup = false
`

// networkConfig routes every pod by itself, without a bridge, so that all traffic between pods passes the rules of network
// policies. Addresses are noted in the run folder: after a restart of the machine none is in use.
const networkConfig = `{
  "cniVersion": "1.0.0",
  "name": %q,
  "plugins": [
    {"type": "ptp", "ipMasq": false, "ipam": {
      "type": "host-local", "dataDir": %q,
      "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "backend": "nftables", "snat": true, "capabilities": {"portMappings": true}}
  ]
}
`

// containerd runs beside the inner process, so that a restart of either leaves the pods alone.
type containerd struct {
	layout  control.Layout
	options control.Options
	config  string
	proxy   string
	log     *boundedLog
}

// newContainerd prepares that of the node that the layout is of, which gives its pods addresses of the range.
func newContainerd(layout control.Layout, options control.Options, pods netip.Prefix, proxy string) (*containerd, error) {
	c := &containerd{layout: layout, options: options, proxy: proxy, config: layout.Run("containerd.toml")}
	conf := layout.Run("cni")
	for _, folder := range []string{conf, layout.Run("s"), layout.Registries(), layout.Data("logs")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("prepare containerd: %w", err)
		}
	}
	text := fmt.Sprintf(containerdConfig,
		layout.Data("containerd"), layout.Run("containerd"), layout.ContainerdSocket(), layout.Data("containerd", "opt"),
		layout.Run("s"), snapshotter(layout.DataDir), options.SandboxImage, layout.Registries(),
		options.ProgramsDir, conf, filepath.Join(options.ProgramsDir, "runc"), layout.Run("runc"))
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of containerd: %w", err)
	}
	net := fmt.Sprintf(networkConfig, layout.NetworkName(), layout.Run("addresses"), pods.String())
	if err := os.WriteFile(filepath.Join(conf, "10-matryoshka.conflist"), []byte(net), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of the pod network: %w", err)
	}
	var err error
	c.log, err = openLog(layout.Data("logs", "containerd.log"))
	return c, err
}

// snapshotter that works on the file system of the data folder: overlayfs cannot be put on top of overlayfs.
func snapshotter(folder string) string {
	var stat unix.Statfs_t
	if unix.Statfs(folder, &stat) == nil && stat.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

func (c *containerd) start() (*runningProcess, error) {
	//nolint:noctx // keepRunning ends it, with SIGTERM first; a context would kill it
	command := exec.Command(filepath.Join(c.options.ProgramsDir, "containerd"), "--config", c.config, "--log-level", "warn")
	command.Env = c.environment(os.Environ())
	running, err := startInside(c.layout, command, c.log)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	// It ends with the process, which keepRunning waits for.
	go func() { ended <- c.endReason(<-running.ended) }()
	return &runningProcess{process: running.process, ended: ended}, nil
}

// endReason says with what words containerd has ended. Its store cannot be mended, and holds nothing that does not come again.
func (c *containerd) endReason(exit error) error {
	if exit == nil {
		return nil
	}
	return fmt.Errorf("containerd ended: %w: %s; its log is %s; if its store is damaged, remove %s: images are imported or pulled again",
		exit, c.log.lastLine(), c.log.path, c.layout.Data("containerd"))
}

// environment gives containerd the host's programs and its way out for image pulls, and takes away what would lead it to
// others.
func (c *containerd) environment(inherited []string) []string {
	path := c.options.ProgramsDir
	var kept []string
	for _, variable := range inherited {
		name, value, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "PATH":
			path += ":" + value
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "NOTIFY_SOCKET":
		default:
			kept = append(kept, variable)
		}
	}
	direct := []string{"localhost", "127.0.0.0/8", network.NodeAddress.String(), network.PodRange.String(), network.ServiceRange.String()}
	return append(kept, "PATH="+path, "HTTPS_PROXY=http://"+c.proxy, "HTTP_PROXY=http://"+c.proxy, "NO_PROXY="+strings.Join(direct, ","))
}

// waitForSocket returns when containerd answers, or with an error when ctx ends.
func (c *containerd) waitForSocket(ctx context.Context) error {
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", c.layout.ContainerdSocket())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
