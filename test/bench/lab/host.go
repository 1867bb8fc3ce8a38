// Package lab is what is measured: an embedded host of its own, and virtual clusters on it.
//
// It measures nothing itself, but it tells when things were seen. Its invariants: times are those of this process's own
// clock, taken when a watch brought the event; a host that it started is gone, with its data, when Stop has returned; a host
// that it did not start is left running.
package lab

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
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
)

const (
	upTimeout   = 5 * time.Minute
	downTimeout = 3 * time.Minute
	callTimeout = time.Minute
)

// Host is an embedded host. Its clients connect straight to the API server, inside of the host's network.
type Host struct {
	// Client is for what Kubernetes has.
	Client kubernetes.Interface
	// Objects is for VirtualClusters, accounts and spaces.
	Objects client.WithWatch
	// Metadata is for what every object has.
	Metadata metadata.Interface

	layout  control.Layout
	program string
	isOurs  bool
}

// IsOurs tells whether this program has started the host and will remove it.
func (h *Host) IsOurs() bool { return h.isOurs }

// Start brings up a host whose data are below folder, with the programs of bin/.
func Start(ctx context.Context, programs, folder string) (*Host, error) {
	layout, err := control.NewLayout(folder)
	if err != nil {
		return nil, err
	}
	h := &Host{layout: layout, program: filepath.Join(programs, "matry"), isOurs: true}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	err = h.matry(ctx, upTimeout, "up", "--api-port", strconv.Itoa(ports[0]), "--front-door-port", strconv.Itoa(ports[1]))
	if err == nil {
		err = h.connect(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, h.Stop())
	}
	return h, nil
}

// Attach uses a host that runs already.
func Attach(ctx context.Context, folder string) (*Host, error) {
	layout, err := control.NewLayout(folder)
	if err != nil {
		return nil, err
	}
	h := &Host{layout: layout}
	if err := h.connect(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// Stop removes a host that Start has started. It takes no context: what was started is removed also when the program was told to end.
func (h *Host) Stop() error {
	if !h.isOurs {
		return nil
	}
	return h.matry(context.Background(), downTimeout, "down", "--purge")
}

// Processes are those of the host itself: its Kubernetes, containerd and what containerd has beside each container, but none of a
// pod.
func (h *Host) Processes() ([]machine.Process, error) {
	return machine.Marked(control.ProcessMark+"="+h.layout.ID, h.layout.CgroupRoot()+"/")
}

func (h *Host) matry(ctx context.Context, timeout time.Duration, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := exec.CommandContext(ctx, h.program, args...)
	for _, variable := range os.Environ() {
		// The developer's own cluster is none of this program's business.
		if !strings.HasPrefix(variable, "KUBECONFIG=") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "MATRYOSHKA_DATA_DIR="+h.layout.DataDir)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("matry %s: %w\n%s", args[0], errors.Join(err, ctx.Err()), output.String())
	}
	return nil
}

func (h *Host) connect(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", h.layout.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read the host's kubeconfig: %w", err)
	}
	address, err := apiServerAddress(ctx, config)
	if err != nil {
		return err
	}
	inside := direct(config, h.layout.NetworkNamespace(), address)
	if h.Client, err = kubernetes.NewForConfig(binary(inside)); err != nil {
		return err
	}
	if h.Metadata, err = metadata.NewForConfig(inside); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clusterv1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	if err := tenancyv1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	h.Objects, err = client.NewWithWatch(inside, client.Options{Scheme: scheme})
	return err
}

// binary has objects sent as protobuf, so that reading them costs the measuring process less.
func binary(config *rest.Config) *rest.Config {
	small := rest.CopyConfig(config)
	small.ContentType = runtime.ContentTypeProtobuf
	small.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return small
}

// apiServerAddress is where the host's API server listens inside of the host's network.
func apiServerAddress(ctx context.Context, config *rest.Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	outside, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	slices, err := outside.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return "", fmt.Errorf("ask for the address of the host's API server: %w", err)
	}
	for _, slice := range slices.Items {
		if len(slice.Endpoints) > 0 && len(slice.Endpoints[0].Addresses) > 0 && len(slice.Ports) > 0 && slice.Ports[0].Port != nil {
			return net.JoinHostPort(slice.Endpoints[0].Addresses[0], strconv.Itoa(int(*slice.Ports[0].Port))), nil
		}
	}
	return "", errors.New("the host's Service default/kubernetes has no endpoint")
}

// freePorts asks the kernel for ports on 127.0.0.1 that nobody uses now.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	var listeners []net.Listener
	// Closed only when all are chosen, so that they differ.
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	for range n {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, listener)
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
