package integration

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/quota"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestChart is a quota with the rights and the policies of the chart: the agent has what it needs and no more, and members of the
// account cannot give themselves more than it.
func TestChart(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	keeper := startKeeper(t, h)
	h.StartAgent(t, tenancytest.Parts{InPlace: keeper.InPlace})
	h.Create(t, &tenancyv1alpha1.Account{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a"},
		Spec:       tenancyv1alpha1.AccountSpec{Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "anna"}}},
	})
	h.Create(t, newQuota("compute", "team-a", map[corev1.ResourceName]string{"pods": "4", "count/deployments.apps": "2"}))
	quotaIsReady := func(namespaces int) func() error {
		return func() error {
			one := &tenancyv1alpha1.AccountQuota{}
			if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "compute"}, one); err != nil {
				return err
			}
			if !hasCondition(one, tenancyv1alpha1.ConditionReady, metav1.ConditionTrue) || len(one.Status.Namespaces) != namespaces {
				return fmt.Errorf("status: %+v", one.Status)
			}
			return nil
		}
	}
	h.Eventually(t, "the agent knows the quota", quotaIsReady(0))
	h.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team-a"}})
	part := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "matryoshka-compute"}}
	h.Eventually(t, "the space is ready", func() error {
		space := &tenancyv1alpha1.Space{}
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "web"}, space); err != nil {
			return err
		}
		for _, condition := range space.Status.Conditions {
			if condition.Type == tenancyv1alpha1.ConditionReady && condition.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions: %+v", space.Status.Conditions)
	})
	if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(part), part); err != nil || part.Status.Used == nil {
		t.Fatalf("the space is ready, but its ResourceQuota is not enforced: %v, %+v", err, part.Status)
	}
	t.Run("Webhook", func(t *testing.T) { testWebhookIsKept(t, h) })
	t.Run("Members", func(t *testing.T) { testMembers(t, h, part) })
	t.Run("Confined", func(t *testing.T) { testConfined(t, h) })
	h.Eventually(t, "the account's quota is ready", quotaIsReady(1))
}

func startKeeper(t *testing.T, h *tenancytest.Host) *quota.Controller {
	t.Helper()
	keeper, err := quota.New(quota.Options{Host: h.AgentConfig(), Replica: "agent-a", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := keeper.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	group.Go(func() { keeper.KeepWebhook(ctx, func() []byte { return []byte(authority) }) })
	t.Cleanup(func() { cancel(); group.Wait() })
	if !keeper.Synced(ctx) {
		t.Fatal("not synced")
	}
	return keeper
}

// authority is a certificate: the API server takes nothing else as caBundle.
var authority = string(newAuthority())

func testWebhookIsKept(t *testing.T, h *tenancytest.Host) {
	configuration := &admissionv1.ValidatingWebhookConfiguration{}
	h.Eventually(t, "the webhook knows whom to trust and what to ask for", func() error {
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: quota.WebhookName}, configuration); err != nil {
			return err
		}
		one := configuration.Webhooks[0]
		var asked []string
		for _, rule := range one.Rules {
			asked = append(asked, rule.APIGroups[0]+"/"+rule.Resources[0])
		}
		if got := strings.Join(asked, " "); got != "/pods /pods/resize apps/deployments" || !bytes.Equal(one.ClientConfig.CABundle, []byte(authority)) {
			return fmt.Errorf("rules for %q", got)
		}
		return nil
	})
	one := configuration.Webhooks[0]
	if *one.FailurePolicy != admissionv1.Ignore || *one.TimeoutSeconds > 3 || len(one.NamespaceSelector.MatchExpressions) != 1 {
		t.Errorf("the webhook can get in the way: %+v", one)
	}
}

// testMembers: a member has every right on ResourceQuotas, by mistake, and yet not on those of the escrow.
func testMembers(t *testing.T, h *tenancytest.Host, part *corev1.ResourceQuota) {
	anna := h.As(t, "anna")
	generous := func(one client.Object) error {
		return anna.Patch(t.Context(), one, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"hard":{"pods":"100"}}}`)))
	}
	if err := generous(part.DeepCopy()); !apierrors.IsForbidden(err) {
		t.Errorf("a member with role admin changes a part: %v", err)
	}
	h.Create(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "too-much"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"resourcequotas", "resourcequotas/status"}, Verbs: []string{"*"}},
	}})
	h.Create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "too-much"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "too-much"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "anna"}},
	})
	own := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "own"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("50")}},
	}
	h.Eventually(t, "the rights are there: a quota of their own", func() error { return anna.Create(t.Context(), own.DeepCopy()) })
	labelled, named := own.DeepCopy(), own.DeepCopy()
	labelled.Name, labelled.Labels = "forged", map[string]string{"matryoshka.dev/account-quota": "compute"}
	named.Name = "matryoshka-other"
	status := part.DeepCopy()
	for name, try := range map[string]func() error{
		"edit":   func() error { return generous(part.DeepCopy()) },
		"delete": func() error { return anna.Delete(t.Context(), part.DeepCopy()) },
		"status": func() error {
			return retry.RetryOnConflict(retry.DefaultRetry, func() error {
				if err := anna.Get(t.Context(), client.ObjectKeyFromObject(part), status); err != nil {
					return err
				}
				status.Status.Hard["pods"] = resource.MustParse("100")
				return anna.Status().Update(t.Context(), status)
			})
		},
		"forge a label": func() error { return anna.Create(t.Context(), labelled) },
		"take a name":   func() error { return anna.Create(t.Context(), named) },
		"give a label": func() error {
			return anna.Patch(t.Context(), own.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"matryoshka.dev/account-quota":"x"}}}`)))
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), "part of an account's quota") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testConfined: the agent writes parts of quotas in namespaces of accounts, and nothing like them elsewhere.
func testConfined(t *testing.T, h *tenancytest.Host) {
	agent := h.As(t, tenancytest.AgentUser, "system:serviceaccounts", "system:serviceaccounts:"+tenancytest.SystemNamespace)
	attempt := func(namespace, name string) error {
		return agent.Create(t.Context(), &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("0")}},
		}, client.DryRunAll)
	}
	if err := attempt("web", "matryoshka-x"); err != nil {
		t.Errorf("in a space: %v", err)
	}
	for _, place := range [][2]string{{"default", "matryoshka-x"}, {"kube-system", "matryoshka-x"}, {"web", "other"}} {
		if err := attempt(place[0], place[1]); err == nil || !strings.Contains(err.Error(), "matryoshka-agent-confined") {
			t.Errorf("ResourceQuota %s: %v", place, err)
		}
	}
	one := &tenancyv1alpha1.AccountQuota{}
	if err := agent.Get(t.Context(), client.ObjectKey{Name: "compute"}, one); err != nil {
		t.Fatal(err)
	}
	one.Spec.Quota.Hard["pods"] = resource.MustParse("1000")
	if err := agent.Update(t.Context(), one, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("the agent changes a quota: %v", err)
	}
	for name, change := range map[string]func(*admissionv1.ValidatingWebhook){
		"rules of everything": func(one *admissionv1.ValidatingWebhook) { one.Rules[0].Resources = []string{"*"} },
		"secrets":             func(one *admissionv1.ValidatingWebhook) { one.Rules[0].Resources = []string{"secrets"} },
		"another server": func(one *admissionv1.ValidatingWebhook) {
			one.ClientConfig.Service, one.ClientConfig.URL = nil, new("https://192.0.2.1/")
		},
		"another service": func(one *admissionv1.ValidatingWebhook) { one.ClientConfig.Service.Namespace = "web" },
		"fail closed":     func(one *admissionv1.ValidatingWebhook) { one.FailurePolicy = new(admissionv1.Fail) },
		"everywhere":      func(one *admissionv1.ValidatingWebhook) { one.NamespaceSelector = nil },
	} {
		configuration := &admissionv1.ValidatingWebhookConfiguration{}
		if err := agent.Get(t.Context(), client.ObjectKey{Name: quota.WebhookName}, configuration); err != nil {
			t.Fatal(err)
		}
		change(&configuration.Webhooks[0])
		if err := agent.Update(t.Context(), configuration, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "matryoshka-agent-confined") {
			t.Errorf("the agent changes its webhook to %s: %v", name, err)
		}
	}
	other := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
	if err := agent.Create(t.Context(), other, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("the agent makes a webhook: %v", err)
	}
	if err := agent.Update(t.Context(), other, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("the agent changes a webhook of others: %v", err)
	}
}
