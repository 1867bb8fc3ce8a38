package controlplane_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

const timeout = 60 * time.Second

// start returns a ready control plane on a port of its own.
func start(t testing.TB, c config.ControlPlane) (*controlplane.ControlPlane, kubernetes.Interface) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	testenv.QuietLogs()
	c.Name, c.UID = "demo/test", "5f0c1d2e"
	if c.ServiceAddress == "" {
		c.ServiceAddress = "10.96.0.1"
	}
	cp, err := controlplane.New(c, controlplane.WithListener(listener), controlplane.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := cp.Start(ctx); err != nil {
		t.Fatalf("start: %v", err)
	}
	select {
	case <-cp.Ready():
	case err := <-cp.Failed():
		t.Fatalf("failed: %v", err)
	case <-ctx.Done():
		t.Fatal("not ready in time")
	}
	return cp, kubernetes.NewForConfigOrDie(cp.ClientConfig())
}

func stop(t testing.TB, cp *controlplane.ControlPlane) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := cp.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	var missing error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, timeout, true, func(context.Context) (bool, error) {
		missing = condition()
		return missing == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v (%v)", what, missing, err)
	}
}
