package report

import (
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// Changed lets through updates by which something has changed that the controller itself reports of an object, as part returns it.
//
// Every controller that uses Write needs it, since Write compares with the cached object: after a write that was wrong, a reconcile that
// knows better may find the right words in the cache still, which has not seen the wrong ones, and write nothing. The wrong ones would
// stay; but when the cache shows them, that event brings the controller back.
//
// What a controller says differently each time must not be in the part, or it would never come to rest. What is not in it may stay wrong
// until the next event: a message, if Said leaves it out.
func Changed[T client.Object](part func(T) any) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, wasOne := e.ObjectOld.(T)
			after, isOne := e.ObjectNew.(T)
			return wasOne && isOne && !equality.Semantic.DeepEqual(part(before), part(after))
		},
	}
}

// Said is what the conditions of these types say, for Changed: without their messages, which may name things that change each time.
func Said(conditions []metav1.Condition, types ...string) []string {
	said := make([]string, 0, len(types))
	for _, name := range types {
		if condition := apimeta.FindStatusCondition(conditions, name); condition != nil {
			said = append(said, name+" "+string(condition.Status)+" "+condition.Reason)
		}
	}
	return said
}
