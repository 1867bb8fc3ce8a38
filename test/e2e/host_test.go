package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	upTimeout   = 10 * time.Minute
	downTimeout = 5 * time.Minute
	// cliTimeout is how long a command may take; it is told to wait for waitTimeout, so that it says what it has waited for.
	cliTimeout  = 6 * time.Minute
	waitTimeout = 5 * time.Minute
)

// matryProgram is the path of bin/matry.
var matryProgram string

func findPrograms() error {
	for _, name := range []string{"matry", "matryd", "node/containerd"} {
		path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w: run `make test-e2e`, which builds it", err)
		}
		if name == "matry" {
			matryProgram = path
		}
	}
	return nil
}

// host is an embedded host of this test run.
type host struct {
	dataDir                string
	apiPort, frontDoorPort int
}

// newHost chooses ports for a host; up starts it.
func newHost(dataDir string) (*host, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	return &host{dataDir: dataDir, apiPort: ports[0], frontDoorPort: ports[1]}, nil
}

// freePorts asks the kernel for ports on 127.0.0.1 that nobody uses now.
func freePorts(n int) (ports []int, err error) {
	var listeners []net.Listener
	// Closed only after all are chosen, so that they differ.
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, listener)
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// up starts the host and returns what matry printed for the person.
func (h *host) up(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	result := h.matry(ctx, append([]string{
		"up",
		"--api-port", strconv.Itoa(h.apiPort),
		"--front-door-port", strconv.Itoa(h.frontDoorPort),
	}, args...)...)
	if result.err != nil {
		return result.stderr, fmt.Errorf("%w\nend of the host's log:\n%s", result.err, h.endOfLog())
	}
	return result.stderr, nil
}

func (h *host) down(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, downTimeout+time.Minute)
	defer cancel()
	return h.matry(ctx, append([]string{"down", "--timeout", downTimeout.String()}, args...)...).err
}

func (h *host) endOfLog() string {
	const most = 4000
	log, err := os.ReadFile(filepath.Join(h.dataDir, "logs", "host.log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
	err            error
}

// matry runs the CLI against this host.
func (h *host) matry(ctx context.Context, args ...string) result {
	return run(ctx, h.command(ctx, args...))
}

func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, matryProgram, args...)
	for _, variable := range os.Environ() {
		// The developer's own cluster is none of this test's business.
		if !strings.HasPrefix(variable, "KUBECONFIG=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "MATRYOSHKA_DATA_DIR="+h.dataDir)
	// An interrupt first, so that the command can end what it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func run(ctx context.Context, cmd *exec.Cmd) result {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	ended := result{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	if err != nil {
		shown := strings.Join(cmd.Args[1:], " ")
		ended.err = fmt.Errorf("matry %s: %w\n%s%s", shown, errors.Join(err, ctx.Err()), ended.stdout, ended.stderr)
	}
	return ended
}

// mustMatry runs the CLI and returns its standard output; the test ends when the command fails.
func (h *host) mustMatry(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cliTimeout)
	defer cancel()
	ended := h.matry(ctx, args...)
	if ended.err != nil {
		t.Fatal(ended.err)
	}
	return ended.stdout
}

// config is the host administrator's.
func (h *host) config(t testing.TB) *rest.Config {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(h.mustMatry(t, "kubeconfig", "host")))
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = time.Minute
	return config
}

func (h *host) client(t testing.TB) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(h.config(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}
