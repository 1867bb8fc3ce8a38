package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// createTimeout is how long a control plane may take to come up beside several others.
	createTimeout = 10 * time.Minute
	// deleteTimeout is how long the host may take to end all namespaces of a virtual cluster: some hold sixty.
	deleteTimeout = 10 * time.Minute
)

// tenant is a virtual cluster as its owner sees it: a kubeconfig.
type tenant struct {
	host            *host
	namespace, name string
	id              string
	kubeconfig      string
	config          *rest.Config
	client          kubernetes.Interface
}

// newTenant creates a virtual cluster, which is deleted when the test ends.
func newTenant(t testing.TB, h *host, namespace, name string, flags ...string) *tenant {
	t.Helper()
	ensureHostNamespace(t, h, namespace)
	created := openTenant(t, h, namespace, name, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), createTimeout+time.Minute)
		defer cancel()
		return h.matry(ctx, append([]string{"create", "vc", name, "-n", namespace, "--timeout", createTimeout.String()}, flags...)...).err
	})
	t.Cleanup(func() {
		if t.Failed() {
			created.print(t, "")
		}
		ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout+time.Minute)
		defer cancel()
		if err := h.matry(ctx, "delete", "vc", name, "-n", namespace, "--timeout", deleteTimeout.String()).err; err != nil {
			t.Errorf("delete the virtual cluster: %v", err)
		}
	})
	return created
}

// openTenant makes a virtual cluster available to a test by its kubeconfig, after create has succeeded.
func openTenant(t testing.TB, h *host, namespace, name string, create func() error) *tenant {
	t.Helper()
	if err := create(); err != nil {
		t.Fatal(err)
	}
	opened := &tenant{host: h, namespace: namespace, name: name}
	text := h.mustMatry(t, "kubeconfig", "vc", name, "-n", namespace)
	opened.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(opened.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = time.Minute
	config.QPS, config.Burst = 100, 200
	opened.config = config
	if opened.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	opened.id = strings.SplitN(config.TLSClientConfig.ServerName, ".", 2)[0]
	return opened
}

var createWorkloads sync.Once

// workloads is the virtual cluster that tests of workloads share; each has its own namespace in it. It goes with the host.
func workloads(t testing.TB) *tenant {
	t.Helper()
	const namespace, name = "e2e", "workloads"
	return openTenant(t, shared, namespace, name, func() error {
		var err error
		createWorkloads.Do(func() {
			ensureHostNamespace(t, shared, namespace)
			ctx, cancel := context.WithTimeout(t.Context(), createTimeout+time.Minute)
			defer cancel()
			err = shared.matry(ctx, "create", "vc", name, "-n", namespace, "--timeout", createTimeout.String()).err
		})
		return err
	})
}

func ensureHostNamespace(t testing.TB, h *host, name string) {
	t.Helper()
	h.mustApply(t, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: "+name+"\n")
	// Pods need it, and it is made a moment after the namespace.
	h.mustMatry(t, "kubectl", "wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=5m")
}

// mustApply applies a manifest on the host, with more arguments for kubectl.
func (h *host) mustApply(t testing.TB, manifest string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := untilAnswered(t.Context(), cliTimeout, func(ctx context.Context) error {
		return h.matry(ctx, append([]string{"kubectl", "apply", "-f", file}, args...)...).err
	}); err != nil {
		t.Fatal(err)
	}
}

// kubectl runs kubectl, as it is built into matry, with the tenant's kubeconfig.
func (v *tenant) kubectl(ctx context.Context, args ...string) result {
	return run(ctx, v.kubectlCommand(ctx, args...))
}

func (v *tenant) kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	return v.host.command(ctx, append([]string{"kubectl", "--kubeconfig", v.kubeconfig}, args...)...)
}

func (v *tenant) mustKubectl(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cliTimeout)
	defer cancel()
	ended := v.kubectl(ctx, args...)
	if ended.err != nil {
		t.Fatal(ended.err)
	}
	return ended.stdout
}

// read runs a command in a pod for what it prints; that it printed nothing is an error. On a machine that is very busy the output of a
// stream can be lost: who hands it on, kube-apiserver too, ends it when one side is gone, and a client takes that for success.
func (v *tenant) read(ctx context.Context, args ...string) result {
	seen := v.kubectl(ctx, append([]string{"exec"}, args...)...)
	if seen.err == nil && seen.stdout == "" {
		seen.err = fmt.Errorf("exec %s: it printed nothing", strings.Join(args, " "))
	}
	return seen
}

// mustRead repeats a command that changes nothing until it has printed something.
func (v *tenant) mustRead(t testing.TB, args ...string) (stdout string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := v.read(ctx, args...)
		stdout = seen.stdout
		return seen.err
	})
	return stdout
}

// newNamespace makes a namespace in the tenant, which is deleted when the test ends. What is in it is printed when the test
// has failed.
func (v *tenant) newNamespace(t testing.TB, name string) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := untilDone(t.Context(), apierrors.IsAlreadyExists, func(ctx context.Context) error {
		_, err := v.client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			v.print(t, name)
		}
		if err := untilDone(context.Background(), apierrors.IsNotFound, func(ctx context.Context) error {
			return v.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		}); err != nil {
			t.Errorf("delete the tenant's namespace %q: %v", name, err)
		}
	})
	// Pods need it, and it is made a moment after the namespace.
	eventually(t, startTimeout, func(ctx context.Context) error {
		_, err := v.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return name
}

// apply applies a manifest in a namespace of the tenant. IMAGE(x) in it stands for one of the product's images.
func (v *tenant) apply(t testing.TB, namespace, manifest string) {
	t.Helper()
	file := manifestFile(t, manifest)
	if err := untilAnswered(t.Context(), cliTimeout, func(ctx context.Context) error {
		return v.kubectl(ctx, "apply", "-n", namespace, "-f", file).err
	}); err != nil {
		t.Fatal(err)
	}
}

func manifestFile(t testing.TB, manifest string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(withImages(manifest)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// print shows a namespace of the tenant and its counterpart on the host; all of them when it is empty.
func (v *tenant) print(t testing.TB, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cliTimeout)
	defer cancel()
	scope := []string{"-A"}
	hostScope := []string{"-A"}
	if namespace != "" {
		scope = []string{"-n", namespace}
		hostScope = []string{"-n", fmt.Sprintf("vc-%s-%s", v.id, namespace)}
	}
	const kinds = "pods,services,persistentvolumeclaims,events"
	seen := v.kubectl(ctx, append([]string{"get", kinds, "-o", "wide"}, scope...)...)
	t.Logf("in the virtual cluster:\n%s%s", seen.stdout, seen.stderr)
	seen = v.host.matry(ctx, append([]string{"kubectl", "get", kinds, "-o", "wide"}, hostScope...)...)
	t.Logf("on the host:\n%s%s", seen.stdout, seen.stderr)
	seen = v.host.matry(ctx, "kubectl", "logs", "-n", "matryoshka-system", "deployment/matryoshka-agent", "--tail", "100")
	t.Logf("the agent's log:\n%s%s", seen.stdout, seen.stderr)
}
