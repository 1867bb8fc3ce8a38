package dns

import (
	"context"
	"log"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy/caddyfile"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"
)

func TestCorefileCanBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		upstream string
		forwards bool
	}{
		"closed":           {"", false},
		"with an upstream": {"192.0.2.53:53", true},
	} {
		t.Run(name, func(t *testing.T) {
			text := corefile(Config{Address: "10.240.0.53", Port: 53, Domain: "cluster.local", Kubeconfig: "/a folder/kubeconfig", Upstream: c.upstream})
			blocks, err := caddyfile.Parse("test", strings.NewReader(text), []string{"bind", "errors", "cache", "loadbalance", "kubernetes", "forward"})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(blocks) != 1 || blocks[0].Keys[0] != ".:53" {
				t.Fatalf("server blocks %+v", blocks)
			}
			if _, forwards := blocks[0].Tokens["forward"]; forwards != c.forwards {
				t.Errorf("forwards: %v\n%s", forwards, text)
			}
		})
	}
}

// A message of klog must not wait for itself when the log of the standard library goes to klog.
func TestOthersLogIsLeftAlone(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	nowhere := clientcmdapi.NewConfig()
	nowhere.Clusters["none"] = &clientcmdapi.Cluster{Server: "http://127.0.0.1:1"}
	nowhere.Contexts["none"] = &clientcmdapi.Context{Cluster: "none"}
	nowhere.CurrentContext = "none"
	if err := clientcmd.WriteToFile(*nowhere, kubeconfig); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan struct{}), make(chan error, 1)
	config := Config{Address: "127.0.0.1", Port: freePort(t), Domain: "cluster.local", Kubeconfig: kubeconfig}
	go func() { ended <- Run(ctx, config, func() { close(started) }) }()
	select {
	case <-started: // Without an API server that takes its five seconds.
	case err := <-ended:
		t.Fatal(err)
	}

	before := log.Writer()
	logs.InitLogs()
	defer log.SetOutput(before)
	logged := make(chan struct{})
	go func() {
		klog.Info("a message of another component")
		close(logged)
	}()
	select {
	case <-logged:
	case <-time.After(10 * time.Second):
		t.Error("a message waits for itself")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
