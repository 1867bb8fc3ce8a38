package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Two virtual clusters on one host: neither reaches, resolves or sees the other or the host.
func TestVirtualClustersAreIsolated(t *testing.T) {
	t.Parallel()
	a := newTenant(t, shared, "e2e-isolation", "red")
	b := newTenant(t, shared, "e2e-isolation", "blue")
	// Namespaces of the same name on both sides: nothing but the virtual cluster tells them apart.
	const namespace = "apps"
	for _, v := range []*tenant{a, b} {
		v.newNamespace(t, namespace)
		v.apply(t, namespace, testdata(t, "shell.yaml"))
		v.apply(t, namespace, strings.ReplaceAll(testdata(t, "shell.yaml"), "name: shell\n", "name: peer-"+v.name+"\n"))
	}
	own := a.podReady(t, namespace, "peer-red")
	other := b.podReady(t, namespace, "peer-blue")
	a.podReady(t, namespace, "shell")

	t.Run("the host is known to enforce it", func(t *testing.T) {
		eventually(t, startTimeout, func(ctx context.Context) error {
			const status = `{.status.conditions[?(@.type=="NetworkIsolation")].status} {.status.conditions[?(@.type=="NetworkIsolation")].message}`
			seen := a.host.matry(ctx, "kubectl", "get", "virtualcluster", a.name, "-n", a.namespace, "-o", "jsonpath="+status)
			if seen.err != nil || !strings.HasPrefix(seen.stdout, "True ") {
				return fmt.Errorf("the condition NetworkIsolation is %q: %w", seen.stdout, seen.err)
			}
			return nil
		})
	})
	// First what must work: without it, "not reachable" would prove nothing.
	t.Run("own pods, services and names are reached", func(t *testing.T) {
		a.reaches(t, namespace, own.Status.PodIP+":8080")
		a.reaches(t, namespace, "peer-red."+namespace+".svc.cluster.local:80")
		a.reaches(t, namespace, "kubernetes.default:443")
		b.reaches(t, namespace, other.Status.PodIP+":8080")
	})
	t.Run("the other's pod is not reached", func(t *testing.T) {
		a.doesNotReach(t, namespace, other.Status.PodIP+":8080")
	})
	t.Run("the other's service is not reached", func(t *testing.T) {
		service, err := b.client.CoreV1().Services(namespace).Get(t.Context(), "peer-blue", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a.doesNotReach(t, namespace, service.Spec.ClusterIP+":80")
	})
	t.Run("the other's control plane is not reached", func(t *testing.T) {
		service, err := b.client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a.doesNotReach(t, namespace, service.Spec.ClusterIP+":443")
	})
	t.Run("the host's API server, kubelet and agent are not reached", func(t *testing.T) {
		for _, address := range hostAddresses(t, a.host) {
			a.doesNotReach(t, namespace, address)
		}
	})
	t.Run("the other's and the host's names are not resolved", func(t *testing.T) {
		for _, name := range []string{
			"peer-blue", "peer-blue." + namespace + ".svc.cluster.local",
			"peer-blue." + mapping.HostNamespace(b.id, namespace) + ".svc.cluster.local",
			"peer-red." + mapping.HostNamespace(a.id, namespace) + ".svc.cluster.local",
			"matryoshka-agent.matryoshka-system.svc.cluster.local",
		} {
			eventually(t, startTimeout, func(ctx context.Context) error {
				seen := a.read(ctx, "-n", namespace, "shell", "--", "nslookup", name)
				if seen.code == 0 && seen.err == nil {
					t.Errorf("%s is resolved:\n%s", name, seen.stdout)
				}
				if seen.code == 0 {
					return seen.err
				}
				return nil
			})
		}
	})
	t.Run("the other's and the host's objects are not seen", func(t *testing.T) {
		names := a.mustKubectl(t, "get", "namespaces,nodes,persistentvolumes,pods,services", "-A", "-o", "name")
		for _, foreign := range []string{"blue", "matryoshka-system", "vcp-", b.id} {
			if strings.Contains(names, foreign) {
				t.Errorf("the tenant sees %q:\n%s", foreign, names)
			}
		}
	})
	t.Run("credentials of one are nothing to the other", func(t *testing.T) {
		config := *b.config
		config.TLSClientConfig.CertData, config.TLSClientConfig.KeyData = a.config.CertData, a.config.KeyData
		if code := statusOf(t, &config, "/api/v1/namespaces"); code != 401 {
			t.Errorf("the other's API server answers %d to our certificate, want 401", code)
		}
	})
}

// hostAddresses are addresses in the host's network that no tenant has business with.
func hostAddresses(t *testing.T, h *host) []string {
	t.Helper()
	client := h.client(t)
	api, err := client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := client.CoreV1().Services("matryoshka-system").Get(t.Context(), "matryoshka-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	addresses := []string{api.Spec.ClusterIP + ":443", agent.Spec.ClusterIP + ":8444", agent.Spec.ClusterIP + ":8445"}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes.Items {
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				addresses = append(addresses, address.Address+":10250", address.Address+":6443")
			}
		}
	}
	return addresses
}

// open tries a TCP connection from the pod "shell" and tells whether it came about.
func (v *tenant) open(ctx context.Context, namespace, address string) (bool, error) {
	const try = `if nc -w 3 "$0" "$1" </dev/null >/dev/null 2>&1; then echo open; else echo closed; fi`
	host, port, _ := strings.Cut(address, ":")
	seen := v.kubectl(ctx, "exec", "-n", namespace, "shell", "--", "sh", "-c", try, host, port)
	switch seen.stdout {
	case "open\n":
		return true, nil
	case "closed\n":
		return false, nil
	}
	return false, fmt.Errorf("try to connect to %s: %q: %w", address, seen.stdout, seen.err)
}

func (v *tenant) reaches(t *testing.T, namespace, address string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		if open, err := v.open(ctx, namespace, address); err != nil || !open {
			return fmt.Errorf("%s is not reached: %w", address, err)
		}
		return nil
	})
}

func (v *tenant) doesNotReach(t *testing.T, namespace, address string) {
	t.Helper()
	var open bool
	eventually(t, startTimeout, func(ctx context.Context) (err error) { // that the command could not be run says nothing
		open, err = v.open(ctx, namespace, address)
		return err
	})
	if open {
		t.Errorf("virtual cluster %s reaches %s", v.name, address)
	}
}
