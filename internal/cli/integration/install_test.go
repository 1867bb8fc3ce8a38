package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/charts"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

func TestInstall(t *testing.T) {
	// A cluster that has never seen Matryoshka.
	h := newHost(t, testenv.StartTenant(t))
	h.fails(t, exit.NotFound, []string{"matry install"}, "get", "vc")
	// The server in a test binary says that it is v0.0.0, older than any Kubernetes that is supported.
	h.fails(t, exit.Failed, []string{"kubeVersion", "1.32"}, "install", "--timeout", "30s")
	h.fails(t, exit.NotFound, []string{"matry install"}, "get", "vc")

	chart := chartForAnyVersion(t)
	h.fails(t, exit.TimedOut, []string{"matryoshka-system/matryoshka-agent", "describe pods"}, "install", "--chart", chart, "--timeout", "30s")
	playNodes(t, h)
	h.must(t, "install", "--chart", chart, "--timeout", "3m", "--set", "agent.logLevel=debug", "--set", "agent.replicas=2")
	if none := h.must(t, "get", "vc", "-A"); !strings.Contains(none.stderr, "no virtual clusters") {
		t.Errorf("after the installation: %q", none.stderr)
	}
	if templates := h.must(t, "get", "spacetemplates"); !strings.Contains(templates.stdout, "default") {
		t.Errorf("the templates of the chart are not there: %s %s", templates.stdout, templates.stderr)
	}
	first := agent(t, h)
	if *first.Spec.Replicas != 2 {
		t.Errorf("%d replicas, want what --set says", *first.Spec.Replicas)
	}

	t.Run("again", func(t *testing.T) {
		h.must(t, "install", "--chart", chart, "--timeout", "3m")
		if again := agent(t, h); again.UID != first.UID || again.Generation != first.Generation {
			t.Errorf("the second installation changed the agent: generation %d, was %d", again.Generation, first.Generation)
		}
	})
	t.Run("what was deleted comes back", func(t *testing.T) {
		if err := h.client.Delete(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		h.must(t, "install", "--chart", chart, "--timeout", "3m")
		if *agent(t, h).Spec.Replicas != 2 {
			t.Error("the value of the first installation was forgotten")
		}
	})
	t.Run("an old CRD is brought up to date", func(t *testing.T) {
		removeColumns(t, h)
		h.must(t, "install", "--chart", chart, "--timeout", "3m")
		if len(columns(t, h)) == 0 {
			t.Error("the CRD is as old as before")
		}
	})
	t.Run("after a killed installation", func(t *testing.T) {
		leavePending(t, h)
		h.fails(t, exit.Failed, []string{"somebody else", "--take-over"}, "install", "--chart", chart)
		h.must(t, "install", "--chart", chart, "--timeout", "3m", "--take-over")
	})
	t.Run("wrong values", func(t *testing.T) {
		h.fails(t, exit.Usage, []string{"/agent/logLevel", "--print-values"}, "install", "--chart", chart, "--timeout", "30s", "--set", "agent.logLevel=loud")
	})
	t.Run("what Helm refuses changes nothing", func(t *testing.T) {
		removeColumns(t, h)
		h.fails(t, exit.Failed, []string{"kubeVersion"}, "install", "--timeout", "30s")
		if len(columns(t, h)) != 0 {
			t.Error("the CRD was changed by an installation that was refused")
		}
		h.must(t, "install", "--chart", chart, "--timeout", "3m")
	})
	if status := h.must(t, "status").stdout; !strings.Contains(status, "AGENT") || !strings.Contains(status, "Available") {
		t.Errorf("status:\n%s", status)
	}
	h.eventually(t, func() bool { // it asks the host for two seconds only
		return strings.Contains(h.must(t, "version").stdout, "matryoshka.dev/matryd:")
	})
}

// chartForAnyVersion is a copy of the chart that does not look at the version of Kubernetes: a server in a test binary is
// not stamped with one.
func chartForAnyVersion(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, charts.Matryoshka); err != nil {
		t.Fatal(err)
	}
	chart := filepath.Join(dir, "matryoshka")
	file := filepath.Join(chart, "Chart.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content = regexp.MustCompile(`(?m)^kubeVersion:.*\n`).ReplaceAll(content, nil)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return chart
}

func agent(t *testing.T, h *host) *appsv1.Deployment {
	t.Helper()
	deployment := &appsv1.Deployment{}
	if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: install.Namespace, Name: install.AgentDeployment}, deployment); err != nil {
		t.Fatal(err)
	}
	return deployment
}

// playNodes makes every pod of the installation ready, as a node would. It ends with the test.
func playNodes(t *testing.T, h *host) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- makePodsReady(ctx, h.client) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the node of the test: %v", err)
		}
	})
}

func makePodsReady(ctx context.Context, hostClient client.WithWatch) error {
	for ctx.Err() == nil {
		events, err := hostClient.Watch(ctx, &corev1.PodList{}, client.InNamespace(install.Namespace))
		if err != nil {
			return err
		}
		for event := range events.ResultChan() {
			pod, isPod := event.Object.(*corev1.Pod)
			if !isPod || event.Type == "DELETED" || pod.Status.Phase == corev1.PodRunning {
				continue
			}
			pod.Status.Phase = corev1.PodRunning
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			err := hostClient.Status().Update(ctx, pod)
			if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
				events.Stop()
				return err
			}
		}
	}
	return ctx.Err()
}

func crd(t *testing.T, h *host) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	if err := h.client.Get(t.Context(), client.ObjectKey{Name: "virtualclusters.cluster.matryoshka.dev"}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func columns(t *testing.T, h *host) []any {
	t.Helper()
	versions, _, err := unstructured.NestedSlice(crd(t, h).Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := versions[0].(map[string]any)["additionalPrinterColumns"].([]any)
	return list
}

func removeColumns(t *testing.T, h *host) {
	t.Helper()
	object := crd(t, h)
	versions, _, err := unstructured.NestedSlice(object.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	delete(versions[0].(map[string]any), "additionalPrinterColumns")
	if err := unstructured.SetNestedSlice(object.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	if err := h.client.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// leavePending leaves the release as an installation that was killed does.
func leavePending(t *testing.T, h *host) {
	t.Helper()
	getter, err := hostcluster.NewGetter(h.config, install.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	helm := action.NewConfiguration()
	if err := helm.Init(getter, install.Namespace, "secrets"); err != nil {
		t.Fatal(err)
	}
	found, err := helm.Releases.Last(install.ReleaseName)
	if err != nil {
		t.Fatal(err)
	}
	last := found.(*release.Release)
	last.Version++
	last.Info.LastDeployed = time.Now()
	last.SetStatus(common.StatusPendingUpgrade, "killed")
	if err := helm.Releases.Create(last); err != nil {
		t.Fatal(err)
	}
}
