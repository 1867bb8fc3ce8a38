package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// Egress says whether pods get a way out of the host.
type Egress string

// The kinds of egress.
const (
	// EgressNone: pods reach pods, Services and the node, and nothing else.
	EgressNone Egress = "none"
	// EgressNAT: pods reach what the machine reaches, behind the machine's addresses.
	EgressNAT Egress = "nat"
)

// Ports on 127.0.0.1 when none are asked for.
const (
	DefaultAPIPort       = 6443
	DefaultFrontDoorPort = 8443
)

// The flags that ports are asked for with.
const (
	apiPortFlag       = "--api-port"
	frontDoorPortFlag = "--front-door-port"
)

// Options of a host. They are also the flags of `matryd host`.
type Options struct {
	// DataDir is the data folder; it is made when missing. Required.
	DataDir string `json:"dataDir"`
	// APIPort on 127.0.0.1 leads to the API server; zero means DefaultAPIPort.
	APIPort int `json:"apiPort"`
	// FrontDoorPort on 127.0.0.1 leads to the front door of the agent; zero means DefaultFrontDoorPort.
	FrontDoorPort int `json:"frontDoorPort"`
	// ProgramsDir has containerd, its shim, ctr, runc, the CNI plugins and metrics-server. Required.
	ProgramsDir string `json:"programsDir"`
	// Egress of the pods; empty means EgressNone.
	Egress Egress `json:"egress"`
	// PullFrom lists addresses, ranges (CIDR) and host names that image pulls may reach although they are private or
	// loopback addresses of the machine. All public addresses may be reached.
	PullFrom []string `json:"pullFrom,omitempty"`
	// Nodes is how many nodes the host has, 1 or 2; zero means 1.
	Nodes int `json:"nodes,omitempty"`
	// SandboxImage is the image of the pause container; empty means DefaultSandboxImage(). It is never pulled: it must be
	// imported.
	SandboxImage string `json:"sandboxImage,omitempty"`
	// Matryd is the program to start; empty means "matryd" beside the running program. Used by Start only.
	Matryd string `json:"-"`
}

// DefaultSandboxImage is the pause image of the product.
func DefaultSandboxImage() string { return "matryoshka.dev/pause:" + version.Version }

// Complete fills in the defaults.
func (o *Options) Complete() {
	if o.APIPort == 0 {
		o.APIPort = DefaultAPIPort
	}
	if o.FrontDoorPort == 0 {
		o.FrontDoorPort = DefaultFrontDoorPort
	}
	if o.Egress == "" {
		o.Egress = EgressNone
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.SandboxImage == "" {
		o.SandboxImage = DefaultSandboxImage()
	}
	if o.Matryd == "" {
		if self, err := os.Executable(); err == nil {
			o.Matryd = filepath.Join(filepath.Dir(self), "matryd")
		}
	}
}

// Programs that must be in ProgramsDir.
var Programs = []string{
	"containerd", "containerd-shim-runc-v2", "ctr", "runc", "ptp", "loopback", "host-local", "portmap",
	"metrics-server",
}

// Validate returns everything that is wrong with the options.
func (o *Options) Validate() error {
	var errs []error
	if _, err := NewLayout(o.DataDir); err != nil {
		errs = append(errs, fmt.Errorf("--data-dir: %w", err))
	}
	errs = append(errs, validatePort(apiPortFlag, o.APIPort), validatePort(frontDoorPortFlag, o.FrontDoorPort))
	if o.APIPort == o.FrontDoorPort {
		errs = append(errs, fmt.Errorf("--front-door-port: %d is the port of the API server too; choose another one", o.FrontDoorPort))
	}
	if o.Egress != EgressNone && o.Egress != EgressNAT {
		errs = append(errs, fmt.Errorf("--egress: %q is not known; use %q or %q", o.Egress, EgressNone, EgressNAT))
	}
	if o.Nodes < 1 || o.Nodes > 2 {
		errs = append(errs, fmt.Errorf("--nodes: %d is not possible; a host has 1 or 2", o.Nodes))
	}
	for _, program := range Programs {
		info, err := os.Stat(filepath.Join(o.ProgramsDir, program))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			errs = append(errs, fmt.Errorf("--programs-dir: %q has no program %q; build the programs with hack/node-programs.sh %s", o.ProgramsDir, program, o.ProgramsDir))
			break
		}
	}
	return errors.Join(errs...)
}

func validatePort(flag string, port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("%s: %d is not a port (1 to 65535)", flag, port)
	}
	return nil
}

// Arguments of `matryd host` for these options.
func (o *Options) Arguments() []string {
	args := []string{
		"host",
		"--data-dir", o.DataDir,
		"--api-port", strconv.Itoa(o.APIPort),
		"--front-door-port", strconv.Itoa(o.FrontDoorPort),
		"--programs-dir", o.ProgramsDir,
		"--egress", string(o.Egress),
		"--nodes", strconv.Itoa(o.Nodes),
		"--sandbox-image", o.SandboxImage,
	}
	for _, target := range o.PullFrom {
		args = append(args, "--pull-from", target)
	}
	return args
}
