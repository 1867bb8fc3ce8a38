package integration

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestKioskFlaws has a test for each thing that went wrong in kiosk, which did the same job; the racy limit has one of its own.
func TestKioskFlaws(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	stop := h.StartAgent(t, tenancytest.Parts{})
	h.Create(t, newAccount("one", user("max")))
	h.Create(t, newAccount("two", user("mia")))
	member := h.As(t, "max")
	createSpace(t, h, member, "one-a", "one")
	awaitReady(t, h, "one-a")
	mustBeAbleTo(t, h, "max works", makes(member, "one-a"))
	mustBeAbleTo(t, h, "max sees his space", func(ctx context.Context) error {
		return member.Get(ctx, client.ObjectKey{Name: "one-a"}, &tenancyv1alpha1.Space{})
	})
	t.Run("AccountCouldBeChangedLater", func(t *testing.T) { checkAccountStays(t, h) })
	t.Run("WatchHadNoReplay", func(t *testing.T) { checkWatch(t, h) })
	t.Run("AccountHadToBeSpelledOut", func(t *testing.T) { checkRulesReview(t, h) })
	// The other two are about what happens while nothing of ours runs.
	stop()
	t.Run("WebhookWasBroadAndFailedClosed", func(t *testing.T) { checkWithoutAgent(t, h, member) })
	t.Run("AggregatedAPIBrokeDiscovery", func(t *testing.T) { checkDiscovery(t, h) })
}

// checkAccountStays: whoever could write a space could move it to an account with more room.
func checkAccountStays(t *testing.T, h *tenancytest.Host) {
	for name, somebody := range map[string]client.Client{"Member": h.As(t, "max"), "Admin": h.Admin} {
		t.Run(name, func(t *testing.T) {
			err := somebody.Patch(t.Context(), newSpace("one-a", ""), merge(t, map[string]any{"spec": map[string]any{"account": "two"}}))
			wantRefusal(t, err, "spec.account cannot be changed")
		})
	}
}

// checkWatch: a watch told only what came after it had begun.
func checkWatch(t *testing.T, h *tenancytest.Host) {
	watching, err := client.NewWithWatch(h.Config, client.Options{Scheme: h.Admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watching.Watch(t.Context(), &tenancyv1alpha1.SpaceList{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	select {
	case event := <-events.ResultChan():
		space, ok := event.Object.(*tenancyv1alpha1.Space)
		if !ok || event.Type != "ADDED" || space.Name != "one-a" {
			t.Errorf("got %s of %v, want that the space one-a is there", event.Type, event.Object)
		}
	case <-t.Context().Done():
		t.Error("the watch says nothing of what there is")
	}
}

// checkRulesReview: people find out what is theirs without a right to list, by asking what they may do; so whoever helps them need
// not ask for an account that is the only one.
func checkRulesReview(t *testing.T, h *tenancytest.Host) {
	h.Eventually(t, "max finds his account and his space", func() error {
		accounts, spaces, err := mine(t.Context(), h.As(t, "max"))
		if err != nil {
			return err
		}
		return wantNames(accounts, spaces)
	})
}

// checkWithoutAgent: while kiosk was down, much of the cluster could not be written to.
func checkWithoutAgent(t *testing.T, h *tenancytest.Host, member client.Client) {
	for _, object := range tenancytest.RenderChart(t, nil) {
		if object.GetKind() != "ValidatingWebhookConfiguration" && object.GetKind() != "MutatingWebhookConfiguration" {
			continue
		}
		webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
		for _, webhook := range webhooks {
			webhook, _ := webhook.(map[string]any)
			if webhook["failurePolicy"] != "Ignore" || webhook["namespaceSelector"] == nil {
				t.Errorf("the webhook %v of %s must be ignored when it does not answer, and be for some namespaces only", webhook["name"], object.GetName())
			}
		}
	}
	for name, write := range map[string]func(context.Context) error{
		"NamespaceOutside": func(ctx context.Context) error {
			return h.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "outside"}}, client.DryRunAll)
		},
		"ObjectOutside": makes(h.Admin, "default"),
		"BindingOutside": func(ctx context.Context) error {
			return h.Admin.Create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
				Subjects:   []rbacv1.Subject{user("anybody")},
			}, client.DryRunAll)
		},
		"ObjectInASpace": makes(member, "one-a"),
		"Space":          func(ctx context.Context) error { return member.Create(ctx, newSpace("one-b", "one"), client.DryRunAll) },
	} {
		if err := write(t.Context()); err != nil {
			t.Errorf("%s cannot be written while the agent is down: %v", name, err)
		}
	}
}

// checkDiscovery: while kiosk's own API server was down, everybody's kubectl failed, and namespaces did not end.
func checkDiscovery(t *testing.T, h *tenancytest.Host) {
	for _, object := range tenancytest.RenderChart(t, nil) {
		if object.GetKind() == "APIService" {
			t.Errorf("the chart registers the aggregated API %s", object.GetName())
		}
	}
	ask, err := discovery.NewDiscoveryClientForConfig(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask.ServerGroupsAndResources(); err != nil {
		t.Errorf("discovery without the agent: %v", err)
	}
}
