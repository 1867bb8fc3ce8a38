package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// checkMachine returns everything that the machine lacks, each with its remedy.
func checkMachine() error {
	if os.Geteuid() != 0 {
		return errors.New("matryd host needs root: it makes network namespaces, mounts and cgroups; run it with sudo")
	}
	var errs []error
	if _, err := exec.LookPath("nft"); err != nil {
		errs = append(errs, errors.New("the program nft is missing: kube-proxy and network policies need it; install it with `apt-get install nftables`"))
	}
	if !hasFileSystem("overlay") && !loadModule("overlay") {
		errs = append(errs, errors.New("the kernel has no overlayfs: containers need it; load it with `modprobe overlay` or use a kernel with CONFIG_OVERLAY_FS"))
	}
	if _, err := control.FindCgroups(); err != nil {
		errs = append(errs, err)
	}
	// Best effort: what is built in has no module, and what is missing shows in the error of its first use.
	for _, module := range []string{"bridge", "veth", "nf_tables", "nf_conntrack"} {
		loadModule(module)
	}
	return errors.Join(errs...)
}

// wantedLimits are ceilings of the machine that many control planes on it would hit: each API server watches a dozen
// files, and the default allows 128 watchers per user. They are raised, never lowered, and cost nothing until used.
var wantedLimits = map[string]int{
	"/proc/sys/fs/inotify/max_user_instances": 8192,
	"/proc/sys/fs/inotify/max_user_watches":   524288,
}

// raiseLimits does what it can: on a machine that does not allow it, the first hosts work.
func raiseLimits(logger *slog.Logger) {
	for path, wanted := range wantedLimits {
		if err := raiseLimit(path, wanted); err != nil {
			logger.Warn("Could not raise a limit of the machine; many virtual clusters may need it", "limit", path, "wanted", wanted, "error", err)
		}
	}
}

func raiseLimit(path string, wanted int) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	current, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return fmt.Errorf("read the limit %s: %w", path, err)
	}
	if current >= wanted {
		return nil
	}
	return os.WriteFile(path, []byte(strconv.Itoa(wanted)), 0)
}

func hasFileSystem(name string) bool {
	file, err := os.Open("/proc/filesystems")
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 0 && fields[len(fields)-1] == name {
			return true
		}
	}
	return false
}

// loadModule asks for a kernel module and says whether the kernel has it now.
func loadModule(name string) bool {
	if _, err := os.Stat("/sys/module/" + name); err == nil {
		return true
	}
	modprobe, err := exec.LookPath("modprobe")
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, modprobe, "--quiet", name).Run() == nil
}
