package noun

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// conditionReady sums up the others. Every kind of the product that has conditions has it.
const conditionReady = "Ready"

// State is what people want to know first of an object.
type State struct {
	Ready           bool
	Status          string
	Reason, Message string
}

// StateOf sums the conditions up. A condition of an older generation says nothing about the spec as it is now.
func StateOf(object client.Object, conditions []metav1.Condition) State {
	if object.GetDeletionTimestamp() != nil {
		return State{Status: "False", Reason: "Deleting", Message: "it is being deleted"}
	}
	condition := meta.FindStatusCondition(conditions, conditionReady)
	if condition == nil {
		return State{Status: "Unknown", Reason: "Pending", Message: "the agent has not seen it yet"}
	}
	if condition.ObservedGeneration != 0 && condition.ObservedGeneration < object.GetGeneration() {
		return State{Status: "Unknown", Reason: "Updating", Message: "the agent has not seen the last change yet"}
	}
	return State{
		Ready: condition.Status == metav1.ConditionTrue, Status: string(condition.Status),
		Reason: condition.Reason, Message: condition.Message,
	}
}

// Text is the state in one line.
func (s State) Text() string {
	if s.Message == "" {
		return s.Reason
	}
	return s.Reason + ": " + s.Message
}

// stateOf is the state of an object of this kind. Kinds without conditions are ready.
func (k *Kind[T]) stateOf(object T) State {
	if k.Conditions == nil {
		return State{Ready: true, Status: "True", Reason: "Ready"}
	}
	return StateOf(object, k.Conditions(object))
}

// Reason is a column: why the object is ready or is not.
func (k *Kind[T]) Reason(object T) string { return k.stateOf(object).Reason }

// Ready is a column: whether the object is ready.
func (k *Kind[T]) Ready(object T) string { return k.stateOf(object).Status }

// advice is what to do about a state that time does not cure.
func (k *Kind[T]) advice(object T) (next string, isStuck bool) {
	state := k.stateOf(object)
	if state.Ready || state.Status != "False" {
		return "", false
	}
	next, isStuck = k.Advice[state.Reason]
	return strings.ReplaceAll(next, "NAME", object.GetName()), isStuck
}

// stuck is an object that gets ready only when somebody does something.
func (k *Kind[T]) stuck(object T) error {
	return fmt.Errorf("%s %q is there, but is not ready: %s", k.Title, k.label(object), k.stateOf(object).Text())
}
