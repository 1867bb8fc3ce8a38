package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// A tenant who owns its control plane makes it dial what it likes and asks the kubelet for what it likes.
func TestAttackByTheAPI(t *testing.T) {
	t.Parallel()
	const namespace = "apps"
	a := newTenant(t, shared, "e2e-attack", "mallory")
	b := newTenant(t, shared, "e2e-attack", "alice")
	for _, v := range []*tenant{a, b} {
		v.newNamespace(t, namespace)
		v.apply(t, namespace, testdata(t, "shell.yaml"))
	}
	own, other := a.podReady(t, namespace, "shell"), b.podReady(t, namespace, "shell")
	t.Run("proxy", func(t *testing.T) { attackByPodProxy(t, a, b, own, other) })
	t.Run("kubelet", func(t *testing.T) { attackKubeletPaths(t, a, b) })
	t.Run("front door", func(t *testing.T) { attackFrontDoor(t, a, b) })
	t.Run("kubelet streams", func(t *testing.T) { attackKubeletStreams(t, a, b) })
	t.Run("endpoints", func(t *testing.T) { attackByEndpoints(t, a, b, own, other) })
	t.Run("external addresses", func(t *testing.T) { attackByExternalAddresses(t, a, b) })
	t.Run("webhooks", func(t *testing.T) { attackByWebhooks(t, a, b, own, other) })
	t.Run("certificates", func(t *testing.T) { attackByCertificates(t, a, b) })
	t.Run("control plane", func(t *testing.T) { attackFromControlPlane(t, a, b, own, other) })
	t.Run("floods", func(t *testing.T) { attackByFloods(t, a, b) })
}

// answer is what an API server, or what stands behind it, has said.
type answer struct {
	code int
	body string
}

func ask(ctx context.Context, config *rest.Config, path, hostHeader string) (answer, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return answer{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	request.Host = hostHeader
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return answer{code: response.StatusCode, body: string(body)}, err
}

// proxyTimeout is longer than the API server's own patience with an address that does not answer.
const proxyTimeout = 50 * time.Second

// attackByPodProxy writes addresses into the status of a pod that has no host pod, and has the API server proxy to them.
func attackByPodProxy(t *testing.T, a, b *tenant, own, other *corev1.Pod) {
	otherAPI, err := b.client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// First that the trick works at all: with the address of a pod of the attacker's own.
	seen, err := a.proxyTo(t, "own", own.Status.PodIP, "8080")
	if err != nil || !strings.Contains(seen.body, "served by shell") {
		t.Fatalf("the proxy does not reach the tenant's own pod: %v %v", seen, err)
	}
	targets := append(hostAddresses(t, a.host), other.Status.PodIP+":8080", otherAPI.Spec.ClusterIP+":443", "169.254.169.254:80")
	for i, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			ip, port, _ := strings.Cut(target, ":")
			seen, err := a.proxyTo(t, fmt.Sprintf("bait-%d", i), ip, port)
			refused := strings.Contains(seen.body, "error trying to reach service") || strings.Contains(seen.body, "address not allowed")
			if err == nil && !refused {
				t.Errorf("the control plane reaches %s: %d %s", target, seen.code, seen.body)
			}
		})
	}
}

// proxyTo makes a pod that the host refuses, so that its status stays as the tenant writes it, and asks its proxy.
func (v *tenant) proxyTo(t *testing.T, name, ip, port string) (answer, error) {
	t.Helper()
	const namespace = "apps"
	v.apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {hostPID: true, containers: [{name: main, image: IMAGE(busybox), command: [sleep, "600"]}]}
`, name))
	pods := v.client.CoreV1().Pods(namespace)
	forged := fmt.Appendf(nil, `{"status":{"podIP":%q,"podIPs":[{"ip":%q}]}}`, ip, ip)
	if _, err := pods.Patch(t.Context(), name, types.MergePatchType, forged, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	scheme := ""
	if port != "8080" && port != "80" {
		scheme = "https:"
	}
	ctx, cancel := context.WithTimeout(t.Context(), proxyTimeout)
	defer cancel()
	seen, err := ask(ctx, v.config, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s%s:%s/proxy/", namespace, scheme, name, port), "")
	if pod, getErr := pods.Get(t.Context(), name, metav1.GetOptions{}); getErr != nil || pod.Status.PodIP != ip {
		t.Fatalf("the forged address did not stay (%v), so nothing was tried", getErr)
	}
	return seen, err
}

// attackKubeletPaths asks the kubelet API of the node, as far as the door serves it, for what is not the tenant's.
func attackKubeletPaths(t *testing.T, a, b *tenant) {
	nodes, err := a.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Fatalf("the tenant has no node: %v", err)
	}
	node := "/api/v1/nodes/" + nodes.Items[0].Name
	const ownLogs = "/proxy/containerLogs/apps/shell/shell"
	for _, path := range []string{"/proxy/pods", ownLogs} {
		var seen answer
		eventually(t, startTimeout, func(ctx context.Context) (err error) {
			if seen, err = ask(ctx, a.config, node+path, ""); err == nil && seen.code != http.StatusOK {
				return fmt.Errorf("the tenant's own %s: %d %s", path, seen.code, seen.body)
			}
			return err
		})
		for _, foreign := range []string{b.id, "matryoshka-system", "kube-proxy", "vcp-"} {
			if strings.Contains(seen.body, foreign) {
				t.Errorf("%s tells of %q", path, foreign)
			}
		}
	}
	own, control := mapping.HostNamespace(a.id, "apps"), mapping.ControlNamespace(a.id)
	for _, path := range []string{
		"/proxy/metrics", "/proxy/metrics/cadvisor", "/proxy/stats/summary", "/proxy/configz", "/proxy/logs/", "/proxy/debug/pprof/",
		"/proxy/spec/", "/proxy/checkpoint/apps/shell/shell",
		"/proxy/containerLogs/" + mapping.HostNamespace(b.id, "apps") + "/shell/shell",
		"/proxy/containerLogs/" + control + "/controlplane-0/controlplane",
		"/proxy/containerLogs/" + own + "/shell/shell",
		"/proxy/containerLogs/apps/../" + control + "/controlplane-0/controlplane",
		"/proxy/containerLogs/apps%2F..%2F" + control + "/controlplane-0/controlplane",
		"/proxy/containerLogs/apps/shell%2F..%2F..%2F" + control + "%2Fcontrolplane-0/controlplane",
		"/proxy/containerLogs/%2e%2e/" + control + "/controlplane-0/controlplane",
		"/proxy//containerLogs/" + control + "/controlplane-0/controlplane",
		"/proxy/containerLogs/apps/shell/shell%00/../../../" + control,
		"/proxy/run/" + control + "/controlplane-0/controlplane?cmd=id",
	} {
		seen, err := ask(t.Context(), a.config, node+path, "")
		if err == nil && seen.code == http.StatusOK {
			t.Errorf("%s is answered:\n%.500s", path, seen.body)
		}
	}
}

// attackFrontDoor tries to come by the front door to what is not the tenant's.
func attackFrontDoor(t *testing.T, a, b *tenant) {
	uidOf := func(v *tenant) string {
		namespace, err := v.client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(namespace.UID)
	}
	// The name in the TLS handshake decides, not the header: with the other's header the attacker sees its own cluster.
	seen, err := ask(t.Context(), a.config, "/api/v1/namespaces/kube-system", b.config.ServerName)
	if err != nil || !strings.Contains(seen.body, uidOf(a)) || strings.Contains(seen.body, uidOf(b)) {
		t.Errorf("with the other's Host header: %d %s (%v)", seen.code, seen.body, err)
	}
	token, err := a.token(t)
	if err != nil {
		t.Fatal(err)
	}
	stolen := rest.AnonymousClientConfig(b.config)
	stolen.BearerToken = token
	if seen, err := ask(t.Context(), stolen, "/api/v1/namespaces", ""); err != nil || seen.code != http.StatusUnauthorized {
		t.Errorf("a token of another virtual cluster is answered %d %s (%v), want 401", seen.code, seen.body, err)
	}
	for _, name := range []string{
		"zzzzzzzz.vc.matryoshka.internal", "matryoshka-agent.matryoshka-system.svc", "kubernetes.default.svc", "localhost",
		"x." + b.config.ServerName, b.config.ServerName + ".example", strings.Repeat("a.", 120) + "example", "",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		dialer := tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
		connection, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(a.config.Host, "https://"))
		cancel()
		if err == nil {
			connection.Close()
			t.Errorf("somebody answers at the front door to the name %q", name)
		}
	}
}

// token is one of the tenant's own service accounts.
func (v *tenant) token(t *testing.T) (string, error) {
	seen := v.kubectl(t.Context(), "create", "token", "default", "-n", "default")
	return strings.TrimSpace(seen.stdout), seen.err
}
