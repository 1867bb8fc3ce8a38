package poddisruptionbudget

import (
	"context"
	"math"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

// Name of the kind.
const Name = "poddisruptionbudget"

// New returns the kind.
func New() engine.Kind {
	return engine.Kind{
		Name: Name, Object: empty(),
		Triggers: []engine.Trigger{
			{Side: engine.Virtual, Object: empty()},
			{Side: engine.Host, Object: empty()},
		},
		Reconcile: reconcile,
	}
}

func empty() *policyv1.PodDisruptionBudget { return &policyv1.PodDisruptionBudget{} }

func reconcile(ctx context.Context, scope *engine.Scope, key engine.Key) (engine.Result, error) {
	pair, err := hostcopy.Read(ctx, scope, key, empty)
	if err != nil {
		return engine.Result{}, err
	}
	if !pair.HasVirtual {
		return engine.Result{}, pair.RemoveOrphan(ctx, scope, empty())
	}
	if strange := hostcopy.StrangeLabels(pair.Virtual.Spec.Selector); len(strange) > 0 {
		if err := pair.Remove(ctx, scope); err != nil {
			return engine.Result{}, err
		}
		return engine.Result{}, engine.Refuse(engine.ReasonNotSupported,
			"spec.selector asks for labels that the host does not have (%s), so drains of the host's nodes do not respect this budget; select by other labels",
			strings.Join(strange, ", "))
	}
	spec, isKnown := translate(pair.Virtual)
	if !isKnown {
		return engine.Result{}, nil // the tenant's controller is about to work it out, which wakes this key
	}
	desired := &policyv1.PodDisruptionBudget{ObjectMeta: scope.HostMeta(pair.Virtual), Spec: spec}
	return pair.Write(ctx, scope, desired, func(hostBudget *policyv1.PodDisruptionBudget) { hostcopy.Set(&hostBudget.Spec, spec) })
}

// translate is the spec of the host's budget; isKnown is false as long as the tenant's controller has not looked at the
// tenant's budget as it is now.
func translate(virtualBudget *policyv1.PodDisruptionBudget) (spec policyv1.PodDisruptionBudgetSpec, isKnown bool) {
	status := &virtualBudget.Status
	healthy := status.DesiredHealthy
	switch {
	case cannotBeWorkedOut(status.Conditions):
		healthy = math.MaxInt32
	case status.ObservedGeneration < virtualBudget.Generation:
		return spec, false
	}
	minAvailable := intstr.FromInt32(healthy)
	spec = policyv1.PodDisruptionBudgetSpec{MinAvailable: &minAvailable, Selector: virtualBudget.Spec.Selector.DeepCopy()}
	if unhealthy := virtualBudget.Spec.UnhealthyPodEvictionPolicy; unhealthy != nil {
		spec.UnhealthyPodEvictionPolicy = new(*unhealthy)
	}
	return spec, true
}

// cannotBeWorkedOut tells whether the tenant's controller failed, for example because a percentage is asked of pods that
// nobody controls.
func cannotBeWorkedOut(conditions []metav1.Condition) bool {
	condition := meta.FindStatusCondition(conditions, policyv1.DisruptionAllowedCondition)
	return condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == policyv1.SyncFailedReason
}
