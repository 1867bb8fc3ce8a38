package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// A kind of the host that its operator has granted works in a virtual cluster that names it, and not before.
func TestCustomResource(t *testing.T) {
	t.Parallel()
	v := newTenant(t, shared, "e2e-custom", "books")
	v.host.mustMatry(t, "kubectl", "patch", "virtualcluster", v.name, "-n", v.namespace, "--type", "merge",
		"-p", `{"spec":{"sync":{"customResources":[{"name":"bookshelves.e2e.example.com"}]}}}`)
	v.host.awaitOutput(t, "NotOnHost", "kubectl", "get", "virtualcluster", v.name, "-n", v.namespace, "-o",
		`jsonpath={.status.conditions[?(@.type=="CustomResourcesSynced")].reason}`)
	v.host.mustApply(t, testdata(t, "bookshelf.yaml"))
	t.Cleanup(func() {
		for _, object := range []string{"clusterrole/e2e-bookshelves-read", "clusterrole/e2e-bookshelves-write", "crd/bookshelves.e2e.example.com"} {
			if ended := v.host.matry(context.Background(), "kubectl", "delete", object, "--wait=false"); ended.err != nil {
				t.Error(ended.err)
			}
		}
	})
	v.host.awaitOutput(t, "Synced", "kubectl", "get", "virtualcluster", v.name, "-n", v.namespace, "-o",
		`jsonpath={.status.conditions[?(@.type=="CustomResourcesSynced")].reason}`)

	namespace := v.newNamespace(t, "library")
	file := filepath.Join(t.TempDir(), "shelf.yaml")
	const shelf = "apiVersion: e2e.example.com/v1\nkind: Bookshelf\nmetadata: {name: tall}\nspec: {boards: 7}\n"
	if err := os.WriteFile(file, []byte(shelf), 0o600); err != nil {
		t.Fatal(err)
	}
	// A kind that is served is in the discovery of the API server some moments later.
	eventually(t, startTimeout, func(ctx context.Context) error { return v.kubectl(ctx, "apply", "-n", namespace, "-f", file).err })
	hostNamespace := mapping.HostNamespace(v.id, namespace)
	v.host.awaitOutput(t, "7", "kubectl", "get", "bookshelf", "tall", "-n", hostNamespace, "-o", "jsonpath={.spec.boards}")
	v.host.mustMatry(t, "kubectl", "patch", "bookshelf", "tall", "-n", hostNamespace, "--subresource", "status", "--type", "merge", "-p", `{"status":{"phase":"Built"}}`)
	v.host.awaitOutput(t, "Built", "kubectl", "--kubeconfig", v.kubeconfig, "get", "bookshelf", "tall", "-n", namespace, "-o", "jsonpath={.status.phase}")
	v.mustKubectl(t, "delete", "bookshelf", "tall", "-n", namespace)
	v.host.awaitOutput(t, "", "kubectl", "get", "bookshelves", "-n", hostNamespace, "-o", "name")
}

// awaitOutput waits until a command of matry prints this.
func (h *host) awaitOutput(t *testing.T, want string, args ...string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		ended := h.matry(ctx, args...)
		if ended.err != nil {
			return ended.err
		}
		if got := strings.TrimSpace(ended.stdout); got != want {
			return fmt.Errorf("%v: %q, want %q", args, got, want)
		}
		return nil
	})
}
