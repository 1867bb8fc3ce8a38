package kubeletdoor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	criportforward "k8s.io/cri-streaming/pkg/streaming/portforward"
	criremotecommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/clock"
	kubeexec "k8s.io/utils/exec"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
	"github.com/matryoshka-dev/matryoshka/internal/dooridentity"
	"github.com/matryoshka-dev/matryoshka/internal/kubeletdoor"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenants"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster/pki"
)

const (
	tenantID    = "aaaaaaaa"
	tenantUID   = "11111111-2222-3333-4444-555555555555"
	nodeName    = "node-1"
	hostAddress = "127.0.0.1"
	// nodeAddress is what the tenant sees; the API server does not proxy to loopback. Nobody dials it.
	nodeAddress = "192.0.2.1"
)

var hostNamespace = mapping.HostNamespace(tenantID, "default")

// kubelet is the host's: the streaming of the real one, over containers that echo.
type kubelet struct{}

func (kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(segments) < 3 || segments[1] != hostNamespace {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	switch segments[0] {
	case "containerLogs":
		if segments[3] == "starting" {
			http.Error(w, fmt.Sprintf("container %q in pod %q is waiting to start: %s", segments[3], segments[2]+"_"+segments[1], "ContainerCreating"), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "log of %s tail %s\n", segments[3], r.URL.Query().Get("tailLines"))
	case "exec", "attach":
		options, err := criremotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if segments[0] == "attach" {
			criremotecommand.ServeAttach(w, r, kubelet{}, segments[2], "", segments[3], options, time.Minute, time.Minute, criremotecommand.SupportedStreamingProtocols)
			return
		}
		criremotecommand.ServeExec(w, r, kubelet{}, segments[2], "", segments[3], r.URL.Query()["command"], options, time.Minute, time.Minute, criremotecommand.SupportedStreamingProtocols)
	case "portForward":
		options, err := criportforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		criportforward.ServePortForward(w, r, kubelet{}, segments[2], "", options, time.Minute, time.Minute, criportforward.SupportedProtocols)
	default:
		http.NotFound(w, r)
	}
}

func (kubelet) ExecInContainer(_ context.Context, _, _, _ string, command []string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan criremotecommand.TerminalSize, _ time.Duration) error {
	if command[0] == "fail" {
		return kubeexec.CodeExitError{Err: errors.New("it failed"), Code: 7}
	}
	if _, err := fmt.Fprintf(out, "%s|", strings.Join(command, " ")); err != nil || in == nil {
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

func (k kubelet) AttachContainer(ctx context.Context, name, uid, container string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan criremotecommand.TerminalSize) error {
	return k.ExecInContainer(ctx, name, uid, container, []string{"attached"}, in, out, errOut, tty, resize, 0)
}

func (kubelet) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if _, err := fmt.Fprintf(stream, "port %d\n", port); err != nil {
		return err
	}
	_, err := io.Copy(stream, stream)
	return err
}

// pair is a host with a kubelet and a control plane of a virtual cluster, with the door between them.
type pair struct {
	config  *rest.Config
	virtual kubernetes.Interface
}

func newPair(t *testing.T) pair {
	t.Helper()
	hostKubelets, tenantKubelets, doors := newAuthority(t), newAuthority(t), newAuthority(t)
	port := startKubelet(t, hostKubelets)
	hostConfig := testenv.StartHost(t, testenv.WithConfig(func(c *config.ControlPlane) {
		write(t, c.PKIDirectory, map[string][]byte{config.KubeletCA: hostKubelets.CertificatePEM()})
	}))
	host := client(t, hostConfig)
	registry := tenants.NewRegistry()
	tenant := tenants.Tenant{
		ID: tenantID, UID: tenantUID,
		KubeletCertificate: pki.NewKubeletCertificates(tenantKubelets, clock.RealClock{}).Certificate,
	}
	registry.Set(tenant)
	address := serve(t, hostConfig, registry, doors)
	virtualConfig := testenv.StartTenant(t, testenv.WithConfig(func(c *config.ControlPlane) {
		c.UID = tenantUID
		c.Doors = &config.Doors{KubeletAddress: address, ServiceAddress: address, ServerName: "door"}
		identity, err := doors.Issue(pki.DoorClientLeaf(tenantUID), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		write(t, c.PKIDirectory, map[string][]byte{
			config.KubeletCA: tenantKubelets.CertificatePEM(),
			config.DoorCA:    doors.CertificatePEM(), config.DoorCert: identity.CertPEM, config.DoorKey: identity.KeyPEM,
		})
	}))
	tenant.VirtualConfig = virtualConfig
	registry.Set(tenant)
	p := pair{config: virtualConfig, virtual: client(t, virtualConfig)}
	p.addObjects(t, host, port)
	return p
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, directory string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func startKubelet(t *testing.T, authority *pki.Authority) int32 {
	t.Helper()
	certificate, err := pki.NewKubeletCertificates(authority, clock.RealClock{}).Certificate(hostAddress)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: kubelet{}}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func serve(t *testing.T, hostConfig *rest.Config, registry *tenants.Registry, authority *pki.Authority) string {
	t.Helper()
	serving := pki.NewDoorServing(authority, []string{"door"}, clock.RealClock{})
	door, err := kubeletdoor.New(kubeletdoor.Options{
		HostConfig: hostConfig,
		Tenants:    registry,
		TLS:        dooridentity.ServerConfig(serving.Certificate, func() (*x509.CertPool, error) { return authority.Pool(), nil }),
		NodeAddress: func(_ context.Context, _ tenants.Tenant, node string) (string, bool, error) {
			return nodeAddress, node == nodeName, nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- door.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// addObjects makes what the sync would: the node and the pod on both sides.
func (p pair) addObjects(t *testing.T, host kubernetes.Interface, port int32) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostNamespace}}
	if _, err := host.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	addNode(t, host, hostAddress, port)
	addNode(t, p.virtual, nodeAddress, 10250)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.PodSpec{NodeName: nodeName, Containers: []corev1.Container{
			{Name: "app", Image: "app", Stdin: true}, {Name: "starting", Image: "app"},
		}},
	}
	virtualPod := addPod(t, p.virtual, pod)
	pod.Namespace = hostNamespace
	pod.Labels = map[string]string{mapping.LabelID: tenantID, mapping.LabelUID: tenantUID, mapping.LabelTenantNamespace: "default"}
	pod.Annotations = map[string]string{mapping.AnnotationTenantUID: string(virtualPod.UID)}
	addPod(t, host, pod)
	// The API server finds the node's address in a cache of its own.
	var last error
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		_, last = p.virtual.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + nodeName + "/proxy/healthz").DoRaw(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatalf("%v: %v", err, last)
	}
}

func addNode(t *testing.T, c kubernetes.Interface, address string, port int32) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}, Status: corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
	}}
	made, err := c.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Status.Addresses, made.Status.DaemonEndpoints = node.Status.Addresses, node.Status.DaemonEndpoints
	if _, err := c.CoreV1().Nodes().UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// addPod waits for the ServiceAccount of a new namespace.
func addPod(t *testing.T, c kubernetes.Interface, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	var made *corev1.Pod
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		made, last = c.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("create the pod: %v (%v)", err, last)
	}
	return made
}
