package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// editor makes a program the editor that changes the text as sed does. It returns no arguments, so that it can stand in a call.
func (h *host) editor(t *testing.T, script string) []string {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("EDITOR", writeFile(t, "editor", "#!/bin/sh\nexec sed -i '"+script+"' \"$1\"\n"))
	return nil
}

// slowEditor is editor, but during the edit something happens elsewhere.
func (h *host) slowEditor(t *testing.T, script string, meanwhile func()) {
	t.Helper()
	folder := t.TempDir()
	opened, ready := filepath.Join(folder, "opened"), filepath.Join(folder, "ready")
	for _, fifo := range []string{opened, ready} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("EDITOR", writeFile(t, "editor", "#!/bin/sh\necho > "+opened+"\ncat "+ready+" > /dev/null\nexec sed -i '"+script+"' \"$1\"\n"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = os.ReadFile(opened)
		meanwhile()
		_ = os.WriteFile(ready, []byte("\n"), 0o600)
	}()
	t.Cleanup(func() { <-done })
}

func (h *host) account(t *testing.T, name string) *tenancyv1alpha1.Account {
	t.Helper()
	account := &tenancyv1alpha1.Account{}
	if err := h.client.Get(t.Context(), client.ObjectKey{Name: name}, account); err != nil {
		t.Fatal(err)
	}
	return account
}

// change changes an account as somebody else would.
func (h *host) change(t *testing.T, patch string) func() {
	return func() {
		account := &tenancyv1alpha1.Account{}
		account.Name = "shop"
		if err := h.client.Patch(t.Context(), account, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Error(err)
		}
	}
}

func testEdit(t *testing.T, h *host) {
	h.editor(t, "s/limit: 2/limit: 3/")
	if got := h.must(t, "edit", "account", "shop", "--dry-run", "server").stdout; got != "account.tenancy.matryoshka.dev/shop edited (server dry run)\n" {
		t.Errorf("dry run: %q", got)
	}
	if limit := *h.account(t, "shop").Spec.Spaces.Limit; limit != 2 {
		t.Errorf("a dry run has set the limit to %d", limit)
	}
	if got := h.must(t, "edit", "account", "shop", "--wait", "--timeout", "3m").stdout; got != "account.tenancy.matryoshka.dev/shop edited\n" {
		t.Errorf("edited: %q", got)
	}
	if limit := *h.account(t, "shop").Spec.Spaces.Limit; limit != 3 {
		t.Errorf("the limit is %d", limit)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
	h.editor(t, "s/nothing/like this/")
	if same := h.must(t, "edit", "account", "shop"); same.stdout != "" || !strings.Contains(same.stderr, "nothing was changed") {
		t.Errorf("not edited: %q, %q", same.stdout, same.stderr)
	}

	// What somebody else has changed elsewhere in the object stays.
	h.slowEditor(t, "s/spaces:/spaces:\\n    initial: []/; s/limit: 3/limit: 2/", h.change(t, `{"metadata":{"labels":{"tier":"gold"}},"spec":{"priorityClassName":"important"}}`))
	h.must(t, "edit", "account", "shop")
	if account := h.account(t, "shop"); *account.Spec.Spaces.Limit != 2 || account.Labels["tier"] != "gold" || account.Spec.PriorityClassName != "important" {
		t.Errorf("the account is %+v", account)
	}
	h.change(t, `{"spec":{"priorityClassName":null}}`)()

	// Where both have changed the same, nothing is written and the text is kept.
	h.slowEditor(t, "s/clusterRole: admin/clusterRole: view/", h.change(t, `{"spec":{"spaces":{"clusterRole":"edit"}}}`))
	h.fails(t, exit.Failed, []string{"somebody else has changed the same fields", "your text is in "}, "edit", "account", "shop")
	if role := h.account(t, "shop").Spec.Spaces.ClusterRole; role != "edit" {
		t.Errorf("the role is %q: somebody's change is lost", role)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "matry-edit-*.yaml"))
	if err != nil || len(left) != 1 {
		t.Fatalf("the text is in %v, %v", left, err)
	}
	if text, err := os.ReadFile(left[0]); err != nil || !strings.Contains(string(text), "clusterRole: view") {
		t.Errorf("the text that was kept is\n%s (%v)", text, err)
	}
	h.change(t, `{"spec":{"spaces":{"clusterRole":"admin"}}}`)()

	h.editor(t, "s/limit: 2/limit: -2/")
	h.fails(t, exit.Failed, []string{"spec.spaces.limit", "your text is in "}, "edit", "account", "shop")
	h.editor(t, "s/name: shop/name: other/")
	h.fails(t, exit.Usage, []string{"name", "cannot be changed"}, "edit", "account", "shop")
	h.editor(t, "s/spaces:/spacez:/")
	h.fails(t, exit.Failed, []string{"spacez"}, "edit", "account", "shop")
	t.Setenv("EDITOR", "/no/such/editor")
	h.fails(t, exit.Failed, []string{"/no/such/editor", "$EDITOR"}, "edit", "account", "shop")
}
