package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestVirtualClusters(t *testing.T) {
	h := newHost(t, testenv.StartHost(t))
	// The kubeconfig of every virtual cluster leads back to the host: it is a Kubernetes too.
	playAgent(t, h, "demo", kubeconfigOf(t, h.config))

	t.Run("a life", func(t *testing.T) { testLife(t, h) })
	t.Run("what the API server refuses", func(t *testing.T) { testRefused(t, h) })
	t.Run("using one", func(t *testing.T) { testUse(t, h) })
	t.Run("waiting in vain", func(t *testing.T) { testTimeout(t, h) })
	t.Run("names for the shell", func(t *testing.T) { testCompletion(t, h) })
}

func testLife(t *testing.T, h *host) {
	h.fails(t, exit.NotFound, []string{"demo", "--create-namespace"}, "create", "vc", "hello", "-n", "demo")

	created := h.must(t, "create", "virtualcluster", "hello", "-n", "demo", "--create-namespace", "--timeout", "3m")
	if created.stdout != "virtualcluster.cluster.matryoshka.dev/hello created\n" {
		t.Errorf("standard output %q", created.stdout)
	}
	for _, said := range []string{"Starting: the control plane starts", "✔ virtual cluster demo/hello is ready", "matry connect virtualcluster hello -n demo"} {
		if !strings.Contains(created.stderr, said) {
			t.Errorf("nobody was told %q:\n%s", said, created.stderr)
		}
	}
	h.fails(t, exit.Failed, []string{"demo/hello", "already exists", "another name"}, "create", "vc", "hello", "-n", "demo")

	if got := h.must(t, "get", "vc", "-n", "demo", "-o", "name").stdout; got != "virtualcluster.cluster.matryoshka.dev/hello\n" {
		t.Errorf("names %q", got)
	}
	table := strings.Fields(strings.SplitN(h.must(t, "get", "vc", "-A", "-o", "wide").stdout, "\n", 3)[1])
	want := []string{"demo", "hello", "True", "Ready", "v1.36.3", "", "x7k2p3q4", "sqlite", "https://127.0.0.1:8443"}
	for i, cell := range want {
		if cell != "" && (i >= len(table) || table[i] != cell) {
			t.Errorf("columns %q, want %q", table, want)
			break
		}
	}
	var printed clusterv1alpha1.VirtualCluster
	if err := json.Unmarshal([]byte(h.must(t, "get", "vc", "hello", "-n", "demo", "-o", "json").stdout), &printed); err != nil {
		t.Fatal(err)
	}
	if printed.Kind != "VirtualCluster" || printed.Spec.Store.Size.String() != "1Gi" || printed.Spec.PodSecurity != "baseline" {
		t.Errorf("json of %s with store %s and pod security %q: the defaults of the schema are missing", printed.Kind, &printed.Spec.Store.Size, printed.Spec.PodSecurity)
	}
	recordEvent(t, h, &printed)
	described := h.must(t, "describe", "vc", "hello", "-n", "demo").stdout
	for _, part := range []string{"sqlite, 1Gi", "x7k2p3q4", "Secret hello-kubeconfig", "ControlPlaneStarted", "vcp-x7k2p3q4"} {
		if !strings.Contains(described, part) {
			t.Errorf("the description does not show %q:\n%s", part, described)
		}
	}

	for _, command := range []string{"get", "describe", "delete", "kubeconfig", "connect"} {
		h.fails(t, exit.Usage, []string{`""`, "DNS label"}, command, "vc", "", "-n", "demo")
		h.fails(t, exit.Usage, []string{"demo/hello", "DNS label"}, command, "vc", "demo/hello", "-n", "demo")
	}
	h.fails(t, exit.NotFound, []string{"demo/nobody", "matry get virtualclusters"}, "delete", "vc", "hello", "nobody", "-n", "demo")
	h.must(t, "get", "vc", "hello", "-n", "demo")
	deleted := h.must(t, "delete", "vc", "hello", "nobody", "-n", "demo", "--ignore-not-found")
	if deleted.stdout != "virtualcluster.cluster.matryoshka.dev/hello deleted\n" {
		t.Errorf("standard output %q", deleted.stdout)
	}
	h.fails(t, exit.NotFound, []string{"demo/hello"}, "get", "vc", "hello", "-n", "demo")
	none := h.must(t, "get", "vc", "-n", "demo")
	if none.stdout != "" || !strings.Contains(none.stderr, "no virtual clusters") {
		t.Errorf("an empty list prints %q and %q", none.stdout, none.stderr)
	}
	if got := h.must(t, "get", "vc", "-n", "demo", "-o", "json").stdout; !strings.Contains(got, `"items": []`) {
		t.Errorf("an empty list as json is %q", got)
	}
}

func recordEvent(t *testing.T, h *host, vc *clusterv1alpha1.VirtualCluster) {
	t.Helper()
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: vc.Namespace, GenerateName: "hello-"},
		InvolvedObject: corev1.ObjectReference{Kind: "VirtualCluster", Namespace: vc.Namespace, Name: vc.Name, UID: vc.UID},
		Type:           "Normal", Reason: "ControlPlaneStarted", Message: "it runs", LastTimestamp: metav1.Now(),
	}
	if err := h.client.Create(t.Context(), event); err != nil {
		t.Fatal(err)
	}
}

func testRefused(t *testing.T, h *host) {
	h.fails(t, exit.Failed, []string{"demo/old", "spec.kubernetesVersion", "v1.20.0", "v1.36.3"},
		"create", "vc", "old", "-n", "demo", "--kubernetes-version", "v1.20.0")
	h.fails(t, exit.NotFound, []string{"demo/old"}, "get", "vc", "old", "-n", "demo")

	dry := h.must(t, "create", "vc", "dry", "-n", "demo", "--dry-run", "server", "-o", "yaml")
	if !strings.Contains(dry.stdout, "size: 1Gi") {
		t.Errorf("a dry run on the server shows no defaults:\n%s", dry.stdout)
	}
	h.fails(t, exit.NotFound, []string{"demo/dry"}, "get", "vc", "dry", "-n", "demo")
}

func testUse(t *testing.T, h *host) {
	h.must(t, "create", "vc", "used", "-n", "demo", "--timeout", "3m")
	h.fails(t, exit.NotFound, []string{"demo/nobody"}, "connect", "vc", "nobody", "-n", "demo", "--", "true")
	if ended := h.matry(t, "connect", "vc", "used", "-n", "demo", "--", "sh", "-c", "grep -q "+h.config.Host+" \"$KUBECONFIG\" && echo inside; exit 7"); ended.code != 7 || ended.stdout != "inside\n" {
		t.Errorf("code %d, output %q; want those of the command", ended.code, ended.stdout)
	}
	if ended := h.must(t, "connect", "vc", "used", "-n", "demo"); ended.stdout != "" || !strings.Contains(ended.stderr, "--update-kubeconfig") {
		t.Errorf("without a command: %q, %q; want to be told how to use it", ended.stdout, ended.stderr)
	}

	mine := filepath.Join(t.TempDir(), "config")
	t.Setenv("KUBECONFIG", mine)
	h.must(t, "connect", "vc", "used", "-n", "demo", "--update-kubeconfig", "--set-current")
	other := &host{kubeconfig: mine}
	if got := other.must(t, "kubeconfig", "host").stdout; !strings.Contains(got, "current-context: matryoshka_demo_used") {
		t.Errorf("the user's kubeconfig is\n%s", got)
	}

	file := filepath.Join(t.TempDir(), "used.kubeconfig")
	h.must(t, "kubeconfig", "vc", "used", "-n", "demo", "--file", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v; want one for its owner only", info, err)
	}
	h.must(t, "delete", "vc", "used", "-n", "demo")
	h.fails(t, exit.NotFound, []string{"demo/used"}, "kubeconfig", "vc", "used", "-n", "demo")
}

// Nobody plays the agent in this namespace.
func testTimeout(t *testing.T, h *host) {
	h.fails(t, exit.TimedOut, []string{"quiet/late", "the agent has not seen it yet", "matry describe virtualcluster late -n quiet"},
		"create", "vc", "late", "-n", "quiet", "--create-namespace", "--timeout", "3s")
	h.fails(t, exit.Failed, []string{"no kubeconfig yet", "matry describe"}, "kubeconfig", "vc", "late", "-n", "quiet")

	late := &clusterv1alpha1.VirtualCluster{}
	key := client.ObjectKey{Namespace: "quiet", Name: "late"}
	if err := h.client.Get(t.Context(), key, late); err != nil {
		t.Fatal(err)
	}
	late.Finalizers = []string{finalizer}
	if err := h.client.Update(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	h.fails(t, exit.TimedOut, []string{"quiet/late", "matry describe"}, "delete", "vc", "late", "-n", "quiet", "--timeout", "300ms")
	h.fails(t, exit.NotFound, []string{"being deleted"}, "kubeconfig", "vc", "late", "-n", "quiet")
}

func testCompletion(t *testing.T, h *host) {
	for _, name := range []string{"one", "two"} {
		h.must(t, "create", "vc", name, "-n", "demo", "--wait=false")
	}
	h.eventually(t, func() bool { // it gives up after a second, so that nobody waits
		got := h.must(t, "__complete", "delete", "vc", "-n", "demo", "one", "").stdout
		return strings.HasPrefix(got, "two\t") && !strings.Contains(got, "one") // that is on the line already
	})
	if got := h.must(t, "delete", "vc", "one", "two", "-n", "demo", "--timeout", "3m"); strings.Count(got.stdout, " deleted\n") != 2 {
		t.Errorf("two deleted at once: %q", got.stdout)
	}
	h.eventually(t, func() bool {
		got := h.must(t, "__complete", "get", "vc", "-n", "").stdout
		return strings.Contains(got, "demo\n") && strings.Contains(got, "kube-system\n")
	})
}
