package virtualcluster

import (
	"k8s.io/apimachinery/pkg/api/meta"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// state is what people want to know first of a virtual cluster.
type state struct {
	ready           bool
	status          string
	reason, message string
}

// stateOf sums the conditions up. A condition of an older generation says nothing about the spec as it is now.
func stateOf(vc *clusterv1alpha1.VirtualCluster) state {
	if vc.DeletionTimestamp != nil {
		return state{status: "False", reason: "Deleting", message: "it is being deleted"}
	}
	condition := meta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
	if condition == nil {
		return state{status: "Unknown", reason: "Pending", message: "the agent has not seen it yet"}
	}
	current := condition.ObservedGeneration == 0 || condition.ObservedGeneration >= vc.Generation
	if !current {
		return state{status: "Unknown", reason: "Updating", message: "the agent has not seen the last change yet"}
	}
	return state{
		ready:  condition.Status == "True",
		status: string(condition.Status), reason: condition.Reason, message: condition.Message,
	}
}
