package poddisruptionbudget

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestTranslate(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	failed := []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason}}
	enough := []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason}}
	cases := map[string]struct {
		reason  string
		spec    policyv1.PodDisruptionBudgetSpec
		status  policyv1.PodDisruptionBudgetStatus
		want    int32
		isKnown bool
	}{
		"percentage": {
			"what the controller worked out counts",
			policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromString("50%"))},
			policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DesiredHealthy: 3},
			3, true,
		},
		"unavailable": {
			"maxUnavailable becomes a number that must stay",
			policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))},
			policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DesiredHealthy: 4, Conditions: enough},
			4, true,
		},
		"older": {
			"a number of an older spec does not count",
			policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1))},
			policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, DesiredHealthy: 4},
			0, false,
		},
		"failed": {
			"a controller that failed allows nothing",
			policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromString("50%"))},
			policyv1.PodDisruptionBudgetStatus{Conditions: failed},
			math.MaxInt32, true,
		},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: test.spec, Status: test.status}
			budget.Spec.Selector, budget.Spec.UnhealthyPodEvictionPolicy = selector, new(policyv1.AlwaysAllow)
			got, isKnown := translate(budget)
			if isKnown != test.isKnown {
				t.Fatalf("%s: known is %v", test.reason, isKnown)
			}
			if !isKnown {
				return
			}
			want := policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(test.want)), Selector: selector, UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
