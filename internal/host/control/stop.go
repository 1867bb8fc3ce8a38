package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// How long the steps of a stop may take before the next harder one.
const (
	hostGrace    = 20 * time.Second
	podGrace     = 2 * time.Second
	killDeadline = 10 * time.Second
)

// Stop ends a host and removes what it made outside of its data folder: processes, mounts, the network namespace with
// its links, cgroups. With purge the data folder goes too. It works as well on what a killed host has left, and on
// nothing at all.
func Stop(ctx context.Context, dataDir string, purge bool) error {
	if os.Geteuid() != 0 {
		return errors.New("stopping a host needs root; run the command with sudo")
	}
	layout, err := NewLayout(dataDir)
	if err != nil {
		return err
	}
	if err := stopHostProcess(ctx, layout); err != nil {
		return err
	}
	// A host that starts meanwhile would lose its processes and mounts to this.
	lock, err := layout.lock(0)
	if err == nil {
		defer lock.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := Clean(ctx, layout); err != nil {
		return err
	}
	if !purge {
		return nil
	}
	return purgeData(layout)
}

// stopHostProcess asks the process that holds the lock to end, and kills it when it does not.
func stopHostProcess(ctx context.Context, layout Layout) error {
	pid, err := layout.holder()
	if err != nil || pid == 0 {
		return err
	}
	for _, step := range []struct {
		signal unix.Signal
		grace  time.Duration
	}{{unix.SIGTERM, hostGrace}, {unix.SIGKILL, killDeadline}} {
		if err := unix.Kill(pid, step.signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stop the host process %d: %w", pid, err)
		}
		gone, err := waitFor(ctx, step.grace, func() (bool, error) {
			holder, err := layout.holder()
			return holder != pid, err
		})
		if err != nil {
			return fmt.Errorf("wait for the end of the host process %d: %w", pid, err)
		}
		if gone {
			return nil
		}
	}
	return fmt.Errorf("the host process %d does not end", pid)
}

// Clean removes what a host that does not run any more has left outside of its data folder. The host process calls it
// too, when it finds the remains of a machine that was switched off.
func Clean(ctx context.Context, layout Layout) error {
	if err := endProcesses(ctx, layout); err != nil {
		return err
	}
	err := errors.Join(
		// Elsewhere in the data folder an administrator may have mounted a disk.
		unmountAll(layout.Run(), layout.Data("kubelet"), layout.Data("containerd"), layout.Worker().Data("kubelet"), layout.Worker().Data("containerd")),
		removeCgroups(ctx, layout),
		removeEgress(ctx, layout),
		removeLeftFiles(layout),
		os.RemoveAll(layout.Run()),
	)
	removeSharedFolders(ctx)
	return err
}

// devicePluginSocket is where every kubelet of a machine listens for device plugins; the path is fixed in its code.
const devicePluginSocket = "/var/lib/kubelet/device-plugins/kubelet.sock"

// removeSharedFolders lets the last host take along what all of them, and others, have at fixed places: folders only when
// they are empty, and the socket of a kubelet only when that has ended.
func removeSharedFolders(ctx context.Context) {
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", devicePluginSocket); err == nil {
		conn.Close()
	} else if errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(devicePluginSocket)
	}
	for _, folder := range []string{
		runRoot, filepath.Dir(devicePluginSocket), filepath.Dir(filepath.Dir(devicePluginSocket)), cniCache, filepath.Dir(cniCache),
	} {
		_ = os.Remove(folder) // What is in use is not empty, and stays.
	}
}

// removeEgress removes the link and the firewall table of egress by NAT. The link would go with the network namespace, but
// the kernel frees that one some time later.
func removeEgress(ctx context.Context, layout Layout) error {
	if _, err := os.Stat(layout.Run(EgressMark)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if link, err := netlink.LinkByName(layout.EgressLink()); err == nil {
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove the egress link %s: %w", layout.EgressLink(), err)
		}
	}
	script := fmt.Sprintf("add table ip %[1]s\ndelete table ip %[1]s\n", layout.EgressTable())
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(script)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("delete the firewall table %s: %w: %s", layout.EgressTable(), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// cniCache is where CNI notes what it has made for each pod; the path is fixed in containerd's code.
const cniCache = "/var/lib/cni/results"

// removeLeftFiles removes what containerd, CNI and the kubelet keep at fixed places and have not removed themselves.
func removeLeftFiles(layout Layout) error {
	results, err := filepath.Glob(cniCache + "/" + layout.NetworkName() + "-*")
	if err != nil {
		return fmt.Errorf("list the results of CNI: %w", err)
	}
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return fmt.Errorf("list the links to container logs: %w", err)
	}
	var errs []error
	for _, link := range links {
		target, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(target, layout.DataDir+"/") {
			results = append(results, link)
		}
	}
	for _, file := range results {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove %s: %w", file, err))
		}
	}
	return errors.Join(errs...)
}

// waitFor asks until the answer is yes, the time is over (false) or ctx ends.
func waitFor(ctx context.Context, atMost time.Duration, done func() (bool, error)) (bool, error) {
	deadline := time.Now().Add(atMost)
	for {
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
