package integration

import (
	"fmt"
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rulekeeper"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestKeeper: with the rights that the chart gives the agent, a space has the rules of its account from the beginning, and follows
// them.
func TestKeeper(t *testing.T) {
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{More: func(mgr ctrl.Manager, host client.Client) error {
		return rulekeeper.SetupWithManager(mgr, rulekeeper.Options{Host: host, Shards: shards.All(), Logger: slog.New(slog.DiscardHandler)})
	}})
	account := &tenancyv1alpha1.Account{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: tenancyv1alpha1.AccountSpec{
		RuntimeClasses: &tenancyv1alpha1.AllowedClasses{Names: []string{"safe"}},
	}}
	h.Create(t, account)
	h.Create(t, &tenancyv1alpha1.Space{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: tenancyv1alpha1.SpaceSpec{Account: "team"}})
	holds := func(what string, ok func(rules.Rules) bool) {
		t.Helper()
		h.Eventually(t, what, func() error {
			var namespace corev1.Namespace
			if err := h.Admin.Get(t.Context(), client.ObjectKey{Name: "web"}, &namespace); err != nil {
				return err
			}
			held, isPut, err := rules.Of(&namespace)
			if err != nil {
				return err
			}
			if !isPut {
				t.Fatal("the namespace is there without rules")
			}
			if !ok(held) {
				return fmt.Errorf("the rules are %+v", held)
			}
			return nil
		})
	}
	edit := func(change func(*tenancyv1alpha1.AccountSpec)) {
		t.Helper()
		h.Eventually(t, "the account is changed", func() error {
			if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
				return err
			}
			change(&account.Spec)
			return h.Admin.Update(t.Context(), account)
		})
	}
	holds("a new space has the rules", func(held rules.Rules) bool {
		return held.RuntimeClasses.Allow("safe") && !held.RuntimeClasses.Allow("raw") && held.PriorityClass == ""
	})
	edit(func(spec *tenancyv1alpha1.AccountSpec) {
		spec.RuntimeClasses, spec.NodeSelector = nil, map[string]string{"pool": "shared"}
	})
	holds("a change of the account comes to the space", func(held rules.Rules) bool {
		return held.RuntimeClasses.Allow("raw") && held.NodeSelector["pool"] == "shared"
	})
	h.Create(t, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "ordinary"}, Value: 5, GlobalDefault: true})
	holds("the default class of the host comes to the space", func(held rules.Rules) bool { return held.PriorityClass == "ordinary" })

	edit(func(spec *tenancyv1alpha1.AccountSpec) { spec.NodeSelector = map[string]string{"no label": "x"} })
	h.Eventually(t, "the account says that it cannot be held to", func() error {
		if err := h.Admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
			return err
		}
		condition := apimeta.FindStatusCondition(account.Status.Conditions, tenancyv1alpha1.ConditionRulesEnforced)
		if condition == nil || condition.Status != metav1.ConditionFalse {
			return fmt.Errorf("the condition is %+v", condition)
		}
		return nil
	})
	holds("what held goes on holding", func(held rules.Rules) bool { return held.NodeSelector["pool"] == "shared" })
}
