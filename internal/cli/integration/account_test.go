package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/top"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/visible"
)

// TestAccounts: an admin and the people of accounts use matry on a host where the agent looks after accounts and spaces.
func TestAccounts(t *testing.T) {
	tenancy := tenancytest.NewHost(t, nil)
	tenancy.StartAgent(t, tenancytest.Parts{})
	h := newHost(t, tenancy.Config)

	created := h.must(t, "create", "account", "shop", "--user", "anna", "--group", "devs", "--spaces", "2", "--virtual-clusters", "2", "--timeout", "3m")
	if created.stdout != "account.tenancy.matryoshka.dev/shop created\n" || !strings.Contains(created.stderr, "✔ account shop is ready") {
		t.Errorf("created: %q, %q", created.stdout, created.stderr)
	}
	h.must(t, "create", "account", "blog", "--user", "ben", "--user", "both", "--spaces", "5", "--timeout", "3m")

	t.Run("mine", func(t *testing.T) { testMine(t, h) })
	t.Run("the filter", func(t *testing.T) { testFilter(t, h) })
	t.Run("which account", func(t *testing.T) { testWhichAccount(t, h) })
	t.Run("not ready", func(t *testing.T) { testStuck(t, h) })
	t.Run("edit", func(t *testing.T) { testEdit(t, h) })
	t.Run("quotas", func(t *testing.T) { testQuotas(t, h) })
	t.Run("templates", func(t *testing.T) { testTemplates(t, h) })
	t.Run("why", func(t *testing.T) { testExplainAccess(t, h) })
	t.Run("rules are read as the API server does", func(t *testing.T) { testExplanationsAreRight(t, h) })
}

// names are the objects that somebody sees.
func (h *host) names(t *testing.T, args ...string) []string {
	t.Helper()
	names := []string{}
	for _, line := range strings.Fields(h.must(t, append(args, "-o", "name")...).stdout) {
		_, name, _ := strings.Cut(line, "/")
		names = append(names, name)
	}
	return names
}

func (h *host) sees(t *testing.T, want []string, args ...string) {
	t.Helper()
	if diff := cmp.Diff(want, h.names(t, args...)); diff != "" {
		t.Errorf("matry %s (-want +got):\n%s", strings.Join(args, " "), diff)
	}
}

func testMine(t *testing.T, h *host) {
	if none := h.must(t, "get", "spaces", "--as", "anna"); none.stdout != "" || !strings.Contains(none.stderr, "no spaces that you may see") {
		t.Errorf("no spaces: %q, %q", none.stdout, none.stderr)
	}
	made := h.must(t, "create", "space", "web", "--as", "anna", "--timeout", "3m")
	if made.stdout != "space.tenancy.matryoshka.dev/web created\n" || !strings.Contains(made.stderr, "✔ space web is ready") {
		t.Errorf("made: %q, %q", made.stdout, made.stderr)
	}
	h.must(t, "create", "space", "diary", "--as", "ben", "--timeout", "3m")
	h.must(t, "create", "vc", "dev", "-n", "web", "--wait=false", "--as", "anna")
	h.must(t, "create", "vc", "draft", "-n", "diary", "--wait=false", "--as", "ben")

	h.sees(t, []string{"shop"}, "get", "accounts", "--as", "anna")
	h.sees(t, []string{"shop"}, "get", "accounts", "--as", "carl", "--as-group", "devs")
	h.sees(t, []string{"blog", "shop"}, "get", "accounts")
	h.sees(t, []string{"web"}, "get", "spaces", "--as", "anna")
	h.sees(t, []string{"diary"}, "get", "spaces", "--as", "ben")
	h.sees(t, []string{}, "get", "spaces", "--as", "nobody")
	h.sees(t, []string{"diary", "web"}, "get", "spaces")
	h.sees(t, []string{}, "get", "spaces", "--as", "anna", "-l", "team=web")
	h.sees(t, []string{"dev"}, "get", "vc", "--as", "anna")
	h.sees(t, []string{"dev"}, "get", "vc", "-A", "--as", "anna")
	h.sees(t, []string{"draft"}, "get", "vc", "--as", "ben")
	h.sees(t, []string{}, "get", "vc", "--as", "nobody")
	h.sees(t, []string{"draft", "dev"}, "get", "vc")
	if table := h.must(t, "get", "vc", "--as", "anna").stdout; !strings.HasPrefix(table, "NAMESPACE") {
		t.Errorf("of several namespaces:\n%s", table)
	}
	h.eventually(t, func() bool { // the account counts its spaces by itself
		table := h.must(t, "get", "accounts", "--as", "anna").stdout
		if strings.Contains(table, "blog") {
			t.Fatalf("anna's accounts:\n%s", table)
		}
		return strings.Contains(table, "1/2")
	})

	h.fails(t, exit.Forbidden, []string{"diary", "matry get spaces"}, "get", "space", "diary", "--as", "anna")
	h.fails(t, exit.Forbidden, []string{"diary"}, "delete", "space", "diary", "--as", "anna")
	h.fails(t, exit.Forbidden, []string{"shop"}, "edit", "account", "shop", "--as", "ben")
	if described := h.must(t, "describe", "space", "web", "--as", "anna").stdout; !strings.Contains(described, "Account:") || !strings.Contains(described, "shop") {
		t.Errorf("described:\n%s", described)
	}
	h.eventually(t, func() bool { // it gives up after a second, so that nobody waits
		got := h.must(t, "__complete", "delete", "space", "--as", "anna", "").stdout
		if strings.Contains(got, "diary") {
			t.Fatalf("completions for anna are %q", got)
		}
		return strings.HasPrefix(got, "web\t")
	})
	h.eventually(t, func() bool {
		got := h.must(t, "__complete", "get", "vc", "--as", "anna", "-n", "").stdout
		if strings.Contains(got, "diary") {
			t.Fatalf("completions of anna's namespaces are %q", got)
		}
		return got == "web\n:4\n"
	})
}

// The filter that a gateway uses, too, shows what RBAC gives for objects in no namespace, and nothing more.
func testFilter(t *testing.T, h *host) {
	// Whoever could write roles in a namespace of their own must not see more by them.
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sees-more"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"tenancy.matryoshka.dev"}, Resources: []string{"spaces", "accounts"}, Verbs: []string{"get", "use"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sees-more"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "sees-more"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "ben"}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := h.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	// The API server's authorizer has seen them when the review for the namespace shows them.
	ben := rest.CopyConfig(h.config)
	ben.Impersonate = rest.ImpersonationConfig{UserName: "ben", Groups: []string{"system:authenticated"}}
	asBen, err := hostcluster.NewClient(ben)
	if err != nil {
		t.Fatal(err)
	}
	h.eventually(t, func() bool {
		review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"}}
		if err := asBen.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		return visible.FromRules(review.Status.ResourceRules, visible.Spaces, visible.VerbGet).All()
	})
	anna := authenticationv1.UserInfo{Username: "anna", Groups: []string{"system:authenticated"}}
	admin := authenticationv1.UserInfo{Username: "root", Groups: []string{"system:masters", "system:authenticated"}}
	for name, c := range map[string]struct {
		reviewer       visible.Reviewer
		resource, verb string
		candidates     []string
		all            bool
		want           []string
	}{
		"oneself":                {visible.Self(asBen), visible.Spaces, visible.VerbGet, nil, false, []string{"diary"}},
		"one's accounts":         {visible.Self(asBen), visible.Accounts, visible.VerbUse, nil, false, []string{"blog"}},
		"an admin":               {visible.Self(h.client), visible.Spaces, visible.VerbGet, nil, true, nil},
		"somebody else":          {visible.Other(h.client, anna), visible.Spaces, visible.VerbGet, []string{"diary", "web", "none"}, false, []string{"web"}},
		"somebody else, account": {visible.Other(h.client, anna), visible.Accounts, visible.VerbUse, []string{"blog", "shop"}, false, []string{"shop"}},
		"another admin":          {visible.Other(h.client, admin), visible.Spaces, visible.VerbGet, []string{"web"}, true, nil},
	} {
		found, err := visible.Find(t.Context(), c.reviewer, c.resource, c.verb, c.candidates)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, found.Sorted()); diff != "" || found.All() != c.all {
			t.Errorf("%s: all %v, names (-want +got):\n%s", name, found.All(), diff)
		}
	}
}

func testWhichAccount(t *testing.T, h *host) {
	h.fails(t, exit.Forbidden, []string{`"carol"`, "no account", "matry create account"}, "create", "space", "carols", "--as", "carol")
	h.must(t, "create", "account", "second", "--user", "both", "--timeout", "3m")
	h.eventually(t, func() bool { return len(h.names(t, "get", "accounts", "--as", "both")) == 2 }) // the host knows the new binding
	h.fails(t, exit.Usage, []string{"2 accounts", "blog, second", "--account"}, "create", "space", "choose", "--as", "both")
	h.fails(t, exit.Usage, []string{"3 accounts", "--account"}, "create", "space", "choose")
	dry := h.must(t, "create", "space", "choose", "--account", "second", "--as", "both", "--dry-run", "server", "-o", "yaml")
	if !strings.Contains(dry.stdout, "account: second") || !strings.Contains(dry.stdout, "adopt: false") {
		t.Errorf("dry run:\n%s", dry.stdout)
	}
	h.fails(t, exit.NotFound, []string{"choose"}, "get", "space", "choose")
	// Another account is refused by a policy, which says what to do.
	h.fails(t, exit.Failed, []string{"may not make spaces", "shop", "add you to its subjects"}, "create", "space", "choose", "--account", "shop", "--as", "both")
	deleted := h.must(t, "delete", "account", "second", "--timeout", "3m")
	if deleted.stdout != "account.tenancy.matryoshka.dev/second deleted\n" {
		t.Errorf("deleted: %q", deleted.stdout)
	}
}

func testStuck(t *testing.T, h *host) {
	h.must(t, "create", "space", "two", "--as", "anna", "--timeout", "3m")
	h.fails(t, exit.Failed, []string{`"three"`, "LimitReached", "matry get spaces", "higher limit"}, "create", "space", "three", "--as", "anna", "--timeout", "30s")
	if got := h.must(t, "describe", "space", "three", "--as", "anna").stdout; !strings.Contains(got, "Next:") || !strings.Contains(got, "higher limit") {
		t.Errorf("described:\n%s", got)
	}
	// There is room at once when a space goes, which its people wait for although they may not watch.
	if got := h.must(t, "delete", "space", "two", "--as", "anna", "--timeout", "3m").stdout; got != "space.tenancy.matryoshka.dev/two deleted\n" {
		t.Errorf("deleted: %q", got)
	}
	h.must(t, "delete", "space", "three", "--as", "anna", "--timeout", "3m")

	taken := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "taken"}}
	if err := h.client.Create(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	h.fails(t, exit.Failed, []string{"NamespaceTaken", "matry delete space taken", "--adopt"}, "create", "space", "taken", "--as", "anna", "--timeout", "30s")
	h.must(t, "delete", "space", "taken", "--as", "anna", "--timeout", "3m")
	if err := h.client.Get(t.Context(), client.ObjectKeyFromObject(taken), taken); err != nil {
		t.Errorf("the namespace that was there before: %v", err)
	}

	h.fails(t, exit.Failed, []string{"exists", "matry get space web"}, "create", "space", "web", "--as", "anna")
	h.fails(t, exit.Failed, []string{"kube-proxy", "kept for the host"}, "create", "space", "kube-proxy", "--as", "anna")
}

func testQuotas(t *testing.T, h *host) {
	h.must(t, "create", "accountquota", "shop", "--account", "shop", "--hard", "requests.cpu=4,pods=10", "--wait=false")
	quota := &tenancyv1alpha1.AccountQuota{}
	if err := h.client.Get(t.Context(), client.ObjectKey{Name: "shop"}, quota); err != nil {
		t.Fatal(err)
	}
	quota.Status.Used = corev1.ResourceList{"requests.cpu": resource.MustParse("1500m"), "pods": resource.MustParse("9")}
	quota.Status.Namespaces = []tenancyv1alpha1.NamespaceUsage{
		{Namespace: "web", Used: corev1.ResourceList{"pods": resource.MustParse("2")}},
		{Namespace: "vc-x7k2p3q4-default", Used: corev1.ResourceList{"pods": resource.MustParse("7")}},
	}
	if err := h.client.Status().Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"get", "aq"}, {"describe", "aq", "shop"}, {"top", "account"}, {"top", "account", "shop"}} {
		got := h.must(t, args...).stdout
		for _, word := range []string{"requests.cpu", "1500m", "9", "10"} {
			if !strings.Contains(got, word) {
				t.Errorf("matry %s does not show %q:\n%s", strings.Join(args, " "), word, got)
			}
		}
	}
	var usage top.Usage
	h.eventually(t, func() bool { // the account counts its spaces by itself
		usage = top.Usage{}
		if err := json.Unmarshal([]byte(h.must(t, "top", "account", "shop", "-o", "json").stdout), &usage); err != nil {
			t.Fatal(err)
		}
		return usage.Spaces.Used == 1
	})
	if *usage.Spaces.Limit != 2 || len(usage.Resources) != 2 {
		t.Fatalf("usage %+v", usage)
	}
	if pods := usage.Resources[0]; pods.Resource != "pods" || *pods.Percent != 90 || pods.Namespaces[0].Namespace != "vc-x7k2p3q4-default" {
		t.Errorf("usage of pods %+v", pods)
	}
	if got := h.must(t, "top", "account", "--as", "ben").stdout; strings.Contains(got, "shop") || !strings.Contains(got, "blog") {
		t.Errorf("ben's accounts use\n%s", got)
	}
	h.fails(t, exit.Failed, []string{"spec.account", "cannot be changed"}, append([]string{"edit", "aq", "shop"}, h.editor(t, "s/account: shop/account: blog/")...)...)
	h.fails(t, exit.Usage, []string{"spec.quota.hard", "pods", "-1"}, append([]string{"edit", "aq", "shop"}, h.editor(t, `s/pods: "10"/pods: "-1"/`)...)...)
	h.must(t, "delete", "accountquota", "shop", "--timeout", "3m")
}

const template = `
apiVersion: tenancy.matryoshka.dev/v1alpha1
kind: Template
metadata: {name: settings}
spec:
  description: settings of an app
  parameters:
  - {name: host, required: true}
  manifests:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {host: "${host}"}}
`

func testTemplates(t *testing.T, h *host) {
	file := writeFile(t, "template.yaml", template)
	if got := h.must(t, "create", "template", "-f", file).stdout; got != "template.tenancy.matryoshka.dev/settings created\n" {
		t.Errorf("created: %q", got)
	}
	if got := h.must(t, "get", "templates").stdout; !strings.Contains(got, "host*") || !strings.Contains(got, "settings of an app") {
		t.Errorf("templates:\n%s", got)
	}
	if got := h.must(t, "describe", "template", "settings").stdout; !strings.Contains(got, "Parameter host:") || !strings.Contains(got, "required") {
		t.Errorf("described:\n%s", got)
	}
	h.must(t, "create", "ti", "settings", "-n", "web", "--template", "settings", "--parameter", "host=shop.example.com", "--wait=false")
	h.sees(t, []string{"settings"}, "get", "ti", "-n", "web")
	if got := h.must(t, "describe", "ti", "settings", "-n", "web").stdout; !strings.Contains(got, `"shop.example.com"`) {
		t.Errorf("described:\n%s", got)
	}
	h.fails(t, exit.NotFound, []string{"nowhere", "matry create space"}, "create", "ti", "settings", "-n", "nowhere", "--template", "settings", "--wait=false")
	h.must(t, "delete", "ti", "settings", "-n", "web", "--wait=false")
	h.must(t, "delete", "template", "settings", "--timeout", "3m")
}
