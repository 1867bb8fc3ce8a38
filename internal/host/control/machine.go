package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Check says what keeps a host with these options from starting, before anything is made: what the machine lacks, a port that
// is in use, or a host of the same data folder with other options. A host that runs with the same ones is no error.
func Check(ctx context.Context, options Options) error {
	options.Complete()
	if err := options.Validate(); err != nil {
		return err
	}
	layout, err := NewLayout(options.DataDir)
	if err != nil {
		return err
	}
	status, err := layout.status()
	if err != nil {
		return err
	}
	if status.PID != 0 {
		return sameOptions(status, options)
	}
	return errors.Join(
		CheckMachine(), checkPort(ctx, apiPortFlag, options.APIPort), checkPort(ctx, frontDoorPortFlag, options.FrontDoorPort),
	)
}

func checkPort(ctx context.Context, flag string, port int) error {
	listener, err := Listen(ctx, flag, port)
	if err != nil {
		return err
	}
	return listener.Close()
}

// Listen opens a port on 127.0.0.1 that a flag has asked for.
func Listen(ctx context.Context, flag string, port int) (*net.TCPListener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%s: port %d of 127.0.0.1 is in use by another program; stop it, or choose another port with %s", flag, port, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return listener.(*net.TCPListener), nil
}

// CheckMachine returns everything that the machine lacks, each with its remedy.
func CheckMachine() error {
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
	if _, err := FindCgroups(); err != nil {
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
