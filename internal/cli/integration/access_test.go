package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// explains checks what matry explain-access says.
func (h *host) explains(t *testing.T, says []string, args ...string) {
	t.Helper()
	got := h.must(t, append([]string{"explain-access"}, args...)...).stdout
	for _, word := range says {
		if !strings.Contains(got, word) {
			t.Errorf("matry explain-access %s does not say %q:\n%s", strings.Join(args, " "), word, got)
		}
	}
}

func testExplainAccess(t *testing.T, h *host) {
	h.eventually(t, func() bool { // an earlier test has changed the role, and changed it back
		got := h.must(t, "explain-access", "anna", "create", "po", "-n", "web").stdout
		return strings.HasPrefix(got, "yes:") && strings.Contains(got, "ClusterRole admin")
	})
	h.explains(t, []string{`yes: "anna" may create pods in namespace web`, "RoleBinding web/matryoshka-members (account shop)", "user anna", "ClusterRole admin", "rule "},
		"anna", "create", "po", "-n", "web")
	h.explains(t, []string{"yes:", "deployments.apps", "group devs"}, "carl", "create", "deploy", "-n", "web", "--group", "devs")
	h.explains(t, []string{"yes:", "get pods/log"}, "anna", "get", "pods/log", "-n", "web")
	h.explains(t, []string{"yes:", "use accounts.tenancy.matryoshka.dev shop", "ClusterRoleBinding matryoshka-account-shop (account shop)", "named shop"}, "anna", "use", "accounts/shop")
	h.explains(t, []string{"no:", `no subject of account "shop", which is user anna, group devs`, "RoleBinding web/matryoshka-members (account shop) gives it by ClusterRole admin, but only to user anna, group devs"},
		"ben", "create", "pods", "-n", "web")
	h.explains(t, []string{"no:", "ClusterRole admin does not hold it"}, "anna", "delete", "pods/binding", "-n", "web")
	h.explains(t, []string{"no:", `no namespace "nowhere"`}, "anna", "get", "pods", "-n", "nowhere")
	h.explains(t, []string{"no:", "list spaces.tenancy.matryoshka.dev", "matryoshka-account-shop does not hold it"}, "anna", "list", "spaces")
	h.explains(t, []string{"yes:", "/healthz", "system:public-info-viewer"}, "anybody", "get", "/healthz")
	h.explains(t, []string{"yes:", "ClusterRoleBinding cluster-admin", "group system:masters"}, "root", "delete", "nodes", "--group", "system:masters")
	h.explains(t, []string{`"allowed": true`, `"account": "shop"`}, "anna", "get", "pods", "-n", "web", "-o", "json")

	h.fails(t, exit.Usage, []string{"turnips", "api-resources"}, "explain-access", "anna", "get", "turnips")
	h.fails(t, exit.Usage, []string{"no namespace"}, "explain-access", "anna", "get", "nodes", "-n", "web")
	h.fails(t, exit.Forbidden, []string{"only admins"}, "explain-access", "ben", "get", "pods", "-n", "web", "--as", "anna")

	suspend := func(value string) {
		h.change(t, `{"spec":{"suspended":`+value+`}}`)()
		await := map[string]string{"true": "no:", "false": "yes:"}[value]
		h.eventually(t, func() bool {
			return strings.HasPrefix(h.must(t, "explain-access", "anna", "create", "pods", "-n", "web").stdout, await)
		})
	}
	suspend("true")
	h.explains(t, []string{"no:", `account "shop" is suspended`, "matry edit account shop"}, "anna", "create", "pods", "-n", "web")
	suspend("false")
}

// The explanation agrees with the API server on rules of every form.
func testExplanationsAreRight(t *testing.T, h *host) {
	const rounds = 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	one := func(words ...string) string { return words[random.IntN(len(words))] }
	for round := range rounds {
		rule := rbacv1.PolicyRule{
			Verbs: []string{one("get", "create", "*")}, APIGroups: []string{one("", "apps", "*")},
			Resources: []string{one("pods", "pods/log", "*/log", "*", "deployments", "deployments/scale", "*/scale", "secrets")},
		}
		if random.IntN(3) == 0 {
			rule.ResourceNames = []string{one("a", "b"), "c"}
		}
		name := fmt.Sprintf("random-%d", round)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Rules: []rbacv1.PolicyRule{rule}}
		subject := rbacv1.Subject{Kind: one("User", "Group", "ServiceAccount"), Name: one("x", "y")}
		if subject.Kind != "ServiceAccount" {
			subject.APIGroup = rbacv1.GroupName
		} else {
			subject.Namespace = one("default", "web")
		}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: []rbacv1.Subject{subject},
		}
		for _, object := range []client.Object{role, binding} {
			if err := h.client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range rounds {
		user := one("x", "y", "z", "system:serviceaccount:default:x", "system:serviceaccount:web:y")
		args := []string{user, one("get", "create", "delete"), one("pods", "pods/log", "pods/a", "deployments", "deployments/scale", "deployments/c", "secrets/b", "configmaps"), "-n", "default"}
		if random.IntN(2) == 0 {
			args = append(args, "--group", one("x", "y"))
		}
		// The API server's authorizer follows a watch.
		h.eventually(t, func() bool {
			got := h.must(t, append([]string{"explain-access"}, args...)...).stdout
			hasGrant := strings.Contains(got, "  by ")
			agrees := strings.HasPrefix(got, "yes:") == hasGrant && !strings.Contains(got, "another authorizer")
			if !agrees {
				t.Logf("matry explain-access %s:\n%s", strings.Join(args, " "), got)
			}
			return agrees
		})
	}
}
