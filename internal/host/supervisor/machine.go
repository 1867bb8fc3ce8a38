package supervisor

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
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
