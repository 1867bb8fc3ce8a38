package integration

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// TestKioskWebhookIsBroadAndFailsClosed: kiosk's webhook was asked about much of the cluster, and while it was down nothing went. Every
// webhook of the chart goes on without an answer, soon, and is asked in namespaces of accounts only, about nothing by itself.
func TestKioskWebhookIsBroadAndFailsClosed(t *testing.T) {
	count := 0
	for _, object := range tenancytest.RenderChart(t, nil) {
		switch object.GetKind() {
		case "MutatingWebhookConfiguration", "APIService":
			t.Errorf("the chart has a %s %s", object.GetKind(), object.GetName())
		case "ValidatingWebhookConfiguration":
			configuration := &admissionv1.ValidatingWebhookConfiguration{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, configuration); err != nil {
				t.Fatal(err)
			}
			for _, one := range configuration.Webhooks {
				count++
				selector := one.NamespaceSelector
				if one.FailurePolicy == nil || *one.FailurePolicy != admissionv1.Ignore || one.TimeoutSeconds == nil || *one.TimeoutSeconds > 3 ||
					selector == nil || len(selector.MatchExpressions) != 1 || selector.MatchExpressions[0].Key != mapping.LabelAccount || len(one.Rules) > 0 {
					t.Errorf("webhook %s of %s: %+v", one.Name, object.GetName(), one)
				}
			}
		}
	}
	if count != 1 {
		t.Errorf("%d webhooks, not one", count)
	}
	for _, object := range tenancytest.RenderChart(t, map[string]any{"quotas": map[string]any{"webhook": false}}) {
		if object.GetKind() == "ValidatingWebhookConfiguration" {
			t.Errorf("the chart has %s though it is switched off", object.GetName())
		}
	}
}
