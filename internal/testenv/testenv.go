package testenv

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = time.Minute
)

// Option changes how a server is started.
type Option func(*config.ControlPlane)

// WithServiceRange sets the range of ClusterIPs, for tests that tell two clusters' addresses apart. Its first address
// becomes default/kubernetes.
func WithServiceRange(cidr, kubernetesAddress string) Option {
	return func(c *config.ControlPlane) { c.ServiceRanges, c.ServiceAddress = []string{cidr}, kubernetesAddress }
}

// WithConfig changes the control plane's configuration freely.
func WithConfig(change func(*config.ControlPlane)) Option { return Option(change) }

// StartHost starts an API server that stands for a host cluster and installs the CRDs of config/crd. It returns a
// client configuration of group system:masters when the namespace default and its ServiceAccount exist. The service
// range is 10.96.0.0/16. The server ends with the test.
func StartHost(t testing.TB, options ...Option) *rest.Config {
	t.Helper()
	options = append([]Option{WithServiceRange("10.96.0.0/16", "10.96.0.1")}, options...)
	client := start(t, "testenv/host", options)
	installCRDs(t, client)
	return client
}

// StartTenant starts the control plane of a virtual cluster without doors: Service addresses come from its own
// allocator (10.97.0.0/16) and there is no kubelet traffic. Otherwise as StartHost, without CRDs.
func StartTenant(t testing.TB, options ...Option) *rest.Config {
	t.Helper()
	options = append([]Option{WithServiceRange("10.97.0.0/16", "10.97.0.1")}, options...)
	return start(t, "testenv/tenant", options)
}

func start(t testing.TB, name string, options []Option) *rest.Config {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	c := config.ControlPlane{
		Name:         name,
		UID:          "00000000-0000-0000-0000-000000000000",
		PKIDirectory: NewPKI(t),
		Store:        config.Store{Type: config.StoreMemory},
	}
	for _, option := range options {
		option(&c)
	}
	QuietLogs()
	cp, err := controlplane.New(c, controlplane.WithListener(listener), controlplane.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatalf("configure %s: %v", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := cp.Start(ctx); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() { stop(t, cp) })
	select {
	case <-cp.Ready():
	case err := <-cp.Failed():
		t.Fatalf("%s failed: %v", name, err)
	case <-ctx.Done():
		t.Fatalf("%s was not ready in time", name)
	}
	client := cp.ClientConfig()
	awaitServiceAccount(ctx, t, client)
	return client
}

func stop(t testing.TB, cp *controlplane.ControlPlane) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := cp.Stop(ctx); err != nil {
		t.Errorf("stop the API server: %v", err)
	}
}

// awaitServiceAccount waits for what pods of the namespace default need.
func awaitServiceAccount(ctx context.Context, t testing.TB, c *rest.Config) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatalf("create a client: %v", err)
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, last = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("wait for the default ServiceAccount: %v (%v)", err, last)
	}
}
