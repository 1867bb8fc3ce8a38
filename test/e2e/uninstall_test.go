package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// uninstallLeavesNothing takes the product off a host that has virtual clusters with running pods: not without leave, and then whole.
func uninstallLeavesNothing(t *testing.T, h *host) {
	t.Helper()
	h.mustApply(t, strings.ReplaceAll(quotaManifest, "e2e-quota", "gone"))
	h.mustMatry(t, "kubectl", "wait", "--for=condition=Ready", "space/gone-a", "space/gone-b", "--timeout=60s")
	h.mustMatry(t, "create", "vc", "inner", "-n", "gone-a")
	installed := productObjects(t, h)
	if len(installed) < 50 {
		t.Fatalf("the product has only %d objects on the host, so that this test looks in the wrong place:\n%s", len(installed), strings.Join(installed, "\n"))
	}

	refused := h.matry(t.Context(), "uninstall")
	if refused.err == nil || !strings.Contains(refused.stderr, "gone-a/inner") || !strings.Contains(refused.stderr, "--delete-data") {
		t.Errorf("uninstalling beside somebody's work: %v %s; want a refusal that names it", refused.err, refused.stderr)
	}
	if now := productObjects(t, h); len(now) < len(installed) {
		t.Errorf("the command was refused, and there are %d objects where %d were", len(now), len(installed))
	}

	start := time.Now()
	h.mustMatry(t, "uninstall", "--delete-data")
	t.Logf("two virtual clusters, two spaces and the product were taken off in %s", time.Since(start).Round(time.Second))
	eventually(t, time.Minute, func(context.Context) error {
		if left := productObjects(t, h); len(left) > 0 {
			return fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		return nil
	})
	h.mustMatry(t, "kubectl", "create", "deployment", "alone", "--image="+withImages("IMAGE(busybox)"), "--", "sleep", "infinity")
	h.mustMatry(t, "kubectl", "rollout", "status", "deployment/alone", "--timeout=60s")
}

// productObjects are the objects of the host that are the product's or its tenants', by their names.
func productObjects(t *testing.T, h *host) []string {
	t.Helper()
	all, err := h.inventory(t.Context(), t)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(object string, _ bool) bool {
		isNode := strings.HasPrefix(object, "nodes ") || strings.HasPrefix(object, "csinodes ") // it is called matryoshka
		return isNode || !containsAny(object, []string{"matryoshka", "/vc-", " vc-", "gone-"})
	})
	return slices.Sorted(maps.Keys(all))
}
