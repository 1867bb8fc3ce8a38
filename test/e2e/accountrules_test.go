package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const tenantsPriority = `
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: e2e-tenants}
value: 10
`

// The rules of an account hold for real pods, those of a space and those of a virtual cluster in it, and nobody gets into the virtual
// cluster while the account is suspended, though all goes on running.
func TestAccountRulesHoldForPods(t *testing.T) {
	t.Parallel()
	const space, rules = "e2e-ruled", `e2e-tenants {"kubernetes.io/os":"linux"}`
	shared.mustApply(t, tenantsPriority)
	newSpace(t, space, "{nodeSelector: {kubernetes.io/os: linux}, priorityClassName: e2e-tenants, podSecurity: {maximum: baseline}}")
	shared.mustApply(t, withImages(testdata(t, "space.yaml")), "-n", space)
	shared.mustMatry(t, "kubectl", "rollout", "status", "deployment/web", "-n", space, "--timeout=5m")
	v := newTenant(t, shared, space, "inner")
	v.apply(t, "default", testdata(t, "shell.yaml"))
	v.podReady(t, "default", "shell")
	for namespace, selector := range map[string]string{
		space: "app=web", mapping.HostNamespace(v.id, "default"): "", mapping.ControlNamespace(v.id): "",
	} {
		said := shared.mustMatry(t, "kubectl", "get", "pods", "-n", namespace, "-l", selector,
			"-o", `jsonpath={range .items[*]}{.spec.priorityClassName} {.spec.nodeSelector}{"\n"}{end}`)
		for line := range strings.Lines(said) {
			if strings.TrimSpace(line) != rules {
				t.Errorf("a pod in %s has %q, want %q", namespace, line, rules)
			}
		}
		if said == "" {
			t.Errorf("there are no pods in %s", namespace)
		}
	}
	elsewhere := shared.matry(t.Context(), "kubectl", "run", "elsewhere", "-n", space, "--image", withImages("IMAGE(busybox)"),
		"--overrides", `{"spec":{"nodeSelector":{"kubernetes.io/os":"plan9"}}}`)
	if elsewhere.err == nil || !strings.Contains(elsewhere.stderr, "need these labels in spec.nodeSelector") {
		t.Errorf("a pod for other nodes: %v %s", elsewhere.err, elsewhere.stderr)
	}

	suspend := func(suspended bool) {
		shared.mustMatry(t, "kubectl", "patch", "account", space, "--type", "merge", "-p", fmt.Sprintf(`{"spec":{"suspended":%t}}`, suspended))
	}
	suspend(true)
	eventually(t, startTimeout, func(ctx context.Context) error {
		if seen := v.kubectl(ctx, "get", "pods"); seen.err == nil || !strings.Contains(seen.stderr, "access denied") {
			return errors.New("the front door is still open")
		}
		return nil
	})
	left := shared.mustMatry(t, "kubectl", "get", "pods", "-A", "-l", "matryoshka.dev/virtual-cluster-id="+v.id, "--field-selector", "status.phase=Running", "-o", "name")
	if strings.Count(left, "\n") != 2 {
		t.Errorf("while the account is suspended these pods run, want the control plane and one:\n%s", left)
	}
	suspend(false)
	eventually(t, startTimeout, func(ctx context.Context) error { return v.kubectl(ctx, "get", "pods").err })
}
