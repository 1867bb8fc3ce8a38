package connect

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/kubeconfig"
)

// runCommand runs a command with the kubeconfig in a folder that lives as long as the command.
func runCommand(streams genericiooptions.IOStreams, config *clientcmdapi.Config, command []string) (err error) {
	dir, err := os.MkdirTemp("", "matry-")
	if err != nil {
		return fmt.Errorf("make a folder for the kubeconfig: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	file := filepath.Join(dir, "kubeconfig")
	if err := kubeconfig.WriteFile(file, config); err != nil {
		return err
	}
	environment, err := withKubectl(dir, os.Environ())
	if err != nil {
		return err
	}
	environment = setVariable(environment, "KUBECONFIG", file)
	program, err := lookUp(command[0], environment)
	if err != nil {
		return exit.WithNext(fmt.Errorf("run %q: %w", command[0], err), "give the path of a program after \"--\"")
	}
	child := &exec.Cmd{
		Path: program, Args: command, Env: environment,
		Stdin: streams.In, Stdout: streams.Out, Stderr: streams.ErrOut,
	}
	return ended(runChild(child))
}

// runChild waits for the child while signals are the child's business: a terminal sends an interrupt to it as well, and
// a termination of matry is passed on.
func runChild(child *exec.Cmd) error {
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	for {
		select {
		case received := <-signals:
			if received != os.Interrupt {
				// An error says that the child has ended, which the next turn sees.
				_ = child.Process.Signal(received)
			}
		case err := <-done:
			return err
		}
	}
}

// ended makes the child's end matry's own. The child has printed what there is to say.
func ended(err error) error {
	var child *exec.ExitError
	if !errors.As(err, &child) {
		return err
	}
	if status, isUnix := child.Sys().(syscall.WaitStatus); isUnix && status.Signaled() {
		return exit.Silent(exit.Code(128 + int(status.Signal())))
	}
	return exit.Silent(exit.Code(child.ExitCode()))
}

// withKubectl puts this program on the PATH as kubectl, as the last folder, when there is no kubectl.
func withKubectl(dir string, environment []string) ([]string, error) {
	if _, err := exec.LookPath("kubectl"); err == nil {
		return environment, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for kubectl: %w", err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "kubectl")); err != nil {
		return nil, fmt.Errorf("make kubectl: %w", err)
	}
	path := bin
	if old := os.Getenv("PATH"); old != "" {
		path = old + string(filepath.ListSeparator) + bin
	}
	return setVariable(environment, "PATH", path), nil
}

func setVariable(environment []string, name, value string) []string {
	kept := make([]string, 0, len(environment)+1)
	for _, entry := range environment {
		if !strings.HasPrefix(entry, name+"=") {
			kept = append(kept, entry)
		}
	}
	return append(kept, name+"="+value)
}

// lookUp finds a program on the PATH of the child.
func lookUp(name string, environment []string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	if found, err := exec.LookPath(name); err == nil {
		return found, nil
	}
	for _, entry := range environment {
		path, isPath := strings.CutPrefix(entry, "PATH=")
		if !isPath {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(found) {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("there is no such program on the PATH: %w", exec.ErrNotFound)
}
