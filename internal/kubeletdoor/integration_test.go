package kubeletdoor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // client-go's port forwarding returns and takes this very Dialer
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
)

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
