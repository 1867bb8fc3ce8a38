package kubeletdoor_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
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
		NodeAddress: func(_ context.Context, node string) (string, bool, error) {
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
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		made, last = c.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("create the pod: %v (%v)", err, last)
	}
	return made
}

func TestKubeletTrafficOfARealAPIServer(t *testing.T) {
	p := newPair(t)
	for name, test := range map[string]func(*testing.T, pair){
		"log": testLog, "log of a container that starts": testLogStarting,
		"exec over SPDY":      func(t *testing.T, p pair) { testExec(t, p, p.spdy) },
		"exec over WebSocket": func(t *testing.T, p pair) { testExec(t, p, p.webSocket) },
		"exit code":           testExitCode,
		"attach":              testAttach,
		"port-forward":        testPortForward,
		"node":                testNode,
	} {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
}

func (p pair) log(t *testing.T, container string) (string, error) {
	t.Helper()
	options := &corev1.PodLogOptions{Container: container, TailLines: new(int64(3))}
	stream, err := p.virtual.CoreV1().Pods("default").GetLogs("web", options).Stream(t.Context())
	if err != nil {
		return "", err
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	return string(text), err
}

func testLog(t *testing.T, p pair) {
	if got, err := p.log(t, "app"); err != nil || got != "log of app tail 3\n" {
		t.Errorf("got %q %v", got, err)
	}
}

func testLogStarting(t *testing.T, p pair) {
	_, err := p.log(t, "starting")
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "waiting to start") || strings.Contains(err.Error(), hostNamespace) {
		t.Errorf("got %v", err)
	}
}

func (p pair) url(subresource string, options any) *url.URL {
	request := p.virtual.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("web").SubResource(subresource)
	switch o := options.(type) {
	case *corev1.PodExecOptions:
		request.VersionedParams(o, scheme.ParameterCodec)
	case *corev1.PodAttachOptions:
		request.VersionedParams(o, scheme.ParameterCodec)
	}
	return request.URL()
}

func (p pair) spdy(u *url.URL) (remotecommand.Executor, error) {
	return remotecommand.NewSPDYExecutor(p.config, http.MethodPost, u)
}

func (p pair) webSocket(u *url.URL) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutor(p.config, http.MethodGet, u.String())
}

func testExec(t *testing.T, p pair, newExecutor func(*url.URL) (remotecommand.Executor, error)) {
	executor, err := newExecutor(p.url("exec", &corev1.PodExecOptions{Container: "app", Command: []string{"cat", "a&b"}, Stdin: true, Stdout: true, Stderr: true}))
	if err != nil {
		t.Fatal(err)
	}
	// More than any buffer on the way.
	input := strings.Repeat("0123456789abcdef", 1<<14)
	var output bytes.Buffer
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &output, Stderr: io.Discard})
	if err != nil || output.String() != "cat a&b|"+input {
		t.Errorf("got %d bytes, want %d; %v", output.Len(), len(input), err)
	}
}

func testExitCode(t *testing.T, p pair) {
	executor, err := p.spdy(p.url("exec", &corev1.PodExecOptions{Container: "app", Command: []string{"fail"}, Stdout: true}))
	if err != nil {
		t.Fatal(err)
	}
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
	exit := utilexec.CodeExitError{}
	if !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("got %v", err)
	}
}

func testAttach(t *testing.T, p pair) {
	executor, err := p.spdy(p.url("attach", &corev1.PodAttachOptions{Container: "app", Stdin: true, Stdout: true}))
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &output})
	if err != nil || output.String() != "attached|hello" {
		t.Errorf("got %q %v", output.String(), err)
	}
}

func testPortForward(t *testing.T, p pair) {
	transport, upgrader, err := spdy.RoundTripperFor(p.config)
	if err != nil {
		t.Fatal(err)
	}
	overSPDY := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, p.url("portforward", nil))
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialer(p.url("portforward", nil), p.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, dialer := range map[string]httpstream.Dialer{"SPDY": overSPDY, "WebSocket": overWebSocket} {
		stop, ready := make(chan struct{}), make(chan struct{})
		forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- forwarder.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("%s: %v", name, err)
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			t.Fatal(err)
		}
		if got := talk(t, ports[0].Local); got != "port 8080\nhello" {
			t.Errorf("%s: got %q", name, got)
		}
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func talk(t *testing.T, port uint16) string {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	want := len("port 8080\nhello")
	answer := make([]byte, want)
	read, err := io.ReadFull(conn, answer)
	if err != nil {
		t.Error(err)
	}
	return string(answer[:read])
}

func testNode(t *testing.T, p pair) {
	get := func(path string) ([]byte, error) {
		return p.virtual.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + nodeName + "/proxy/" + path).DoRaw(t.Context())
	}
	if text, err := get("healthz"); err != nil || string(text) != "ok" {
		t.Errorf("healthz: %q %v", text, err)
	}
	for _, path := range []string{"pods", "runningpods/"} {
		text, err := get(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		list := corev1.PodList{}
		if err := json.Unmarshal(text, &list); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if path == "pods" && (len(list.Items) != 1 || list.Items[0].Namespace != "default") {
			t.Errorf("%s: %s", path, text)
		}
		if strings.Contains(string(text), hostNamespace) {
			t.Errorf("%s tells of the host", path)
		}
	}
	if _, err := get("stats/summary"); !apierrors.IsNotFound(err) {
		t.Errorf("stats/summary: %v", err)
	}
}
