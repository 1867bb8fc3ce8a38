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
	h.mustMatry(t, "kubectl", "wait", "--for=condition=Ready", "space/gone-a", "space/gone-b", "--timeout=5m")
	h.mustMatry(t, "create", "vc", "inner", "-n", "gone-a", "--timeout", waitTimeout.String())
	installed := awaitProductObjects(t, h)
	if len(installed) < 50 {
		t.Fatalf("the product has only %d objects on the host, so that this test looks in the wrong place:\n%s", len(installed), strings.Join(installed, "\n"))
	}

	refused := h.matry(t.Context(), "uninstall")
	if refused.err == nil || !strings.Contains(refused.stderr, "gone-a/inner") || !strings.Contains(refused.stderr, "--delete-data") {
		t.Errorf("uninstalling beside somebody's work: %v %s; want a refusal that names it", refused.err, refused.stderr)
	}
	if now := awaitProductObjects(t, h); len(now) < len(installed) {
		t.Errorf("the command was refused, and there are %d objects where %d were", len(now), len(installed))
	}

	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), deleteTimeout+time.Minute)
	defer cancel()
	if ended := h.matry(ctx, "uninstall", "--delete-data", "--timeout", deleteTimeout.String()); ended.err != nil {
		t.Fatal(ended.err)
	}
	t.Logf("two virtual clusters, two spaces and the product were taken off in %s", time.Since(start).Round(time.Second))
	eventually(t, time.Minute, func(ctx context.Context) error {
		left, err := productObjects(ctx, t, h)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		return err
	})
	h.mustMatry(t, "kubectl", "create", "deployment", "alone", "--image="+withImages("IMAGE(busybox)"), "--", "sleep", "infinity")
	h.mustMatry(t, "kubectl", "rollout", "status", "deployment/alone", "--timeout=5m")
}

// productObjects are the objects of the host that are the product's or its tenants', by their names.
func productObjects(ctx context.Context, t *testing.T, h *host) ([]string, error) {
	t.Helper()
	all, err := h.inventory(ctx, t)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(object string, _ bool) bool {
		isNode := strings.HasPrefix(object, "nodes ") || strings.HasPrefix(object, "csinodes ") // it is called matryoshka
		return isNode || !containsAny(object, []string{"matryoshka", "/vc-", " vc-", "gone-"})
	})
	return slices.Sorted(maps.Keys(all)), nil
}

func awaitProductObjects(t *testing.T, h *host) (objects []string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) (err error) {
		objects, err = productObjects(ctx, t, h)
		return err
	})
	return objects
}
