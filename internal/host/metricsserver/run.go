package metricsserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/network"
	"github.com/matryoshka-dev/matryoshka/internal/host/pki"
)

// Program is its name in the folder of programs.
const Program = "metrics-server"

const (
	// retry is the pause between two looks at something that is about to come.
	retry = 200 * time.Millisecond
	// restartPause is how long a program that has ended stays away.
	restartPause = 10 * time.Second
	// requestTimeout bounds every request.
	requestTimeout = 5 * time.Second
)

// Config of the metrics server.
type Config struct {
	Layout     control.Layout
	Files      pki.Files
	ProgramDir string
	Logger     *slog.Logger
}

type runner struct {
	Config
	client      kubernetes.Interface
	apiServices apiregistration.Interface
	authority   []byte
}

// Run keeps the metrics server running until ctx ends. An error is about the host's own files.
func Run(ctx context.Context, config Config) error {
	r, err := newRunner(config)
	if err != nil {
		return err
	}
	r.keepTrying(ctx)
	return nil
}

func (r *runner) keepTrying(ctx context.Context) {
	for err := r.prepare(ctx); err != nil; err = r.prepare(ctx) {
		r.Logger.Debug("The metrics server waits for its objects", "error", err)
		if !sleep(ctx, retry) {
			return
		}
	}
	for {
		err := r.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		r.Logger.Error("The metrics server ended and is started again", "error", err, "after", restartPause.String())
		if !sleep(ctx, restartPause) {
			return
		}
	}
}

func newRunner(config Config) (*runner, error) {
	admin, err := clientcmd.BuildConfigFromFlags("", config.Files.Kubeconfig(pki.Admin))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the host itself: %w", err)
	}
	admin.Timeout = requestTimeout
	r := &runner{Config: config}
	if r.client, err = kubernetes.NewForConfig(admin); err != nil {
		return nil, fmt.Errorf("make the client of the metrics server's objects: %w", err)
	}
	if r.apiServices, err = apiregistration.NewForConfig(admin); err != nil {
		return nil, fmt.Errorf("make the client of APIServices: %w", err)
	}
	if r.authority, err = os.ReadFile(config.Files.CA()); err != nil {
		return nil, fmt.Errorf("read the authority of the metrics server: %w", err)
	}
	return r, nil
}

// prepare makes the objects, and removes the registration that the last start of the host may have left.
func (r *runner) prepare(ctx context.Context) error {
	if err := r.ensureObjects(ctx); err != nil {
		return err
	}
	return r.unregister(ctx)
}

// runOnce runs the program until it or ctx ends.
func (r *runner) runOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	//nolint:noctx // it is killed below: StartInside waits for the process on its own thread
	command := exec.Command(filepath.Join(r.ProgramDir, Program), arguments(r.Files)...)
	command.Dir = "/"
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ended, err := network.StartInside(r.Layout.NetworkNamespace(), command)
	if err != nil {
		return err
	}
	registered := make(chan struct{})
	go func() {
		defer close(registered)
		r.registerWhenAnswering(ctx)
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		// It keeps nothing that could be lost. An error means that it has ended.
		_ = command.Process.Kill()
		err = <-ended
	}
	cancel()
	<-registered
	// Also at the end of the host, for as long as the API server still answers.
	last, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	if unregisterErr := r.unregister(last); unregisterErr != nil {
		r.Logger.Warn("The metrics API stays registered until the next start", "error", unregisterErr)
	}
	return err
}

func arguments(files pki.Files) []string {
	kubeconfig := files.Kubeconfig(pki.MetricsServer)
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + network.NodeAddress.String(),
		"--secure-port=" + strconv.Itoa(network.MetricsPort),
		"--tls-cert-file=" + files.MetricsServerCert(),
		"--tls-private-key-file=" + files.MetricsServerKey(),
		"--kubelet-certificate-authority=" + files.CA(),
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-use-node-status-port",
		"--metric-resolution=15s",
		"--profiling=false",
	}
}

// registerWhenAnswering returns when the API is registered or ctx ends.
func (r *runner) registerWhenAnswering(ctx context.Context) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.authority)
	client := &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, DisableKeepAlives: true,
	}}
	for {
		err := answers(ctx, client)
		if err == nil {
			err = r.register(ctx)
		}
		if err == nil || !sleep(ctx, retry) {
			return
		}
	}
}

func answers(ctx context.Context, client *http.Client) error {
	address := net.JoinHostPort(network.NodeAddress.String(), strconv.Itoa(network.MetricsPort))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/livez", http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the metrics server answers %s", response.Status)
	}
	return nil
}

// sleep says whether the time passed before ctx ended.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
