package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// openMetrics is what the chart adds to its policy when a namespace is named that may read the metrics.
const openMetrics = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: e2e-metrics, namespace: matryoshka-system}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: matryoshka-agent}}
  policyTypes: [Ingress]
  ingress:
    - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: e2e-metrics}}}]
      ports: [{port: metrics, protocol: TCP}]
`

// TestMetricsAreClosedUnlessOpened: a pod of the host reaches the agent's doors, and its metrics only where they are opened.
func TestMetricsAreClosedUnlessOpened(t *testing.T) {
	t.Parallel()
	const namespace = "e2e-metrics"
	ensureHostNamespace(t, shared, namespace)
	host := shared.client(t)
	t.Cleanup(func() {
		if err := host.CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete the host's namespace %q: %v", namespace, err)
		}
	})
	pod, _, _ := strings.Cut(testdata(t, "shell.yaml"), "---\n")
	shared.mustApply(t, withImages(strings.Replace(pod, "name: shell\n", "name: shell\n  namespace: "+namespace+"\n", 1)))
	agents, err := host.CoreV1().Pods("matryoshka-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=matryoshka-agent"})
	if err != nil || len(agents.Items) == 0 {
		t.Fatalf("%d agents, %v", len(agents.Items), err)
	}
	address := agents.Items[0].Status.PodIP

	reaches := func(ctx context.Context, port string) (bool, error) {
		const try = `if nc -w 3 "$0" "$1" </dev/null >/dev/null 2>&1; then echo open; else echo closed; fi`
		seen := shared.matry(ctx, "kubectl", "exec", "-n", namespace, "shell", "--", "sh", "-c", try, address, port)
		if seen.err == nil && seen.stdout == "" { // the output of a stream can be lost
			seen.err = errors.New("the command has printed nothing")
		}
		return seen.stdout == "open\n", seen.err
	}
	for _, port := range []string{"8443", "8444", "8445", "8081"} {
		eventually(t, startTimeout, func(ctx context.Context) error {
			if isOpen, err := reaches(ctx, port); err != nil || !isOpen {
				return fmt.Errorf("port %s of the agent is not reached: %w", port, err)
			}
			return nil
		})
	}
	var isOpen bool
	eventually(t, startTimeout, func(ctx context.Context) (err error) { // until it has been tried; what came of it is final
		isOpen, err = reaches(ctx, "8080")
		return err
	})
	if isOpen {
		t.Error("a pod that nobody has named reaches the metrics")
	}

	shared.mustApply(t, openMetrics)
	t.Cleanup(func() {
		if err := host.NetworkingV1().NetworkPolicies("matryoshka-system").Delete(context.Background(), "e2e-metrics", metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete the policy of the test: %v", err)
		}
	})
	eventually(t, startTimeout, func(ctx context.Context) error {
		if isOpen, err := reaches(ctx, "8080"); err != nil || !isOpen {
			return fmt.Errorf("the metrics are not reached: %w", err)
		}
		seen := shared.matry(ctx, "kubectl", "exec", "-n", namespace, "shell", "--", "timeout", "10", "wget", "-q", "-O", "-", "http://"+address+":8080/metrics")
		for _, name := range []string{"matryoshka_sync_tenants", "matryoshka_sync_lag_seconds_bucket", "matryoshka_sync_host_calls_limit", "process_cpu_seconds_total"} {
			if !strings.Contains(seen.stdout, "\n"+name) {
				return fmt.Errorf("the metrics lack %s: %w\n%.400s", name, seen.err, seen.stdout)
			}
		}
		return nil
	})
}
