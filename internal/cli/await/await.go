// Package await waits until an object of a cluster is as somebody wants it, by a watch.
//
// It is not for controllers. Its invariants: it looks at states, never at single events, so nothing is missed when a
// watch ends early; it never asks more often than once in half a second; it ends with the context.
package await

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// again is the pause before a watch that ended is started anew.
const again = 500 * time.Millisecond

// Condition tells whether the object is as wanted. The object is nil when it does not exist. An error ends the wait.
type Condition[T client.Object] func(object T, exists bool) (bool, error)

// Until waits until the condition holds for the object of this key. The list is an empty list of the object's type.
func Until[T client.Object](ctx context.Context, cluster client.WithWatch, key client.ObjectKey, list client.ObjectList, condition Condition[T]) error {
	for {
		done, err := once(ctx, cluster, key, list, condition)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
}

// once looks at the object and at its changes until the condition holds or the watch ends.
func once[T client.Object](ctx context.Context, cluster client.WithWatch, key client.ObjectKey, list client.ObjectList, condition Condition[T]) (bool, error) {
	options := []client.ListOption{
		client.InNamespace(key.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.Name)},
	}
	if err := cluster.List(ctx, list, options...); err != nil {
		return false, failed(ctx, err)
	}
	object, exists, err := first[T](list)
	if err != nil {
		return false, err
	}
	if done, err := condition(object, exists); done || err != nil {
		return done, err
	}
	options = append(options, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
	events, err := cluster.Watch(ctx, list, options...)
	if err != nil {
		return false, failed(ctx, err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		done, err := changed(event, condition)
		if done || err != nil {
			return done, err
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return false, nil
}

// first is the object of a list that holds one at most.
func first[T client.Object](list client.ObjectList) (object T, exists bool, err error) {
	items, err := meta.ExtractList(list)
	if err != nil || len(items) == 0 {
		return object, false, err
	}
	object, exists = items[0].(T)
	if !exists {
		return object, false, fmt.Errorf("the list holds a %T, not a %T", items[0], object)
	}
	return object, true, nil
}

func changed[T client.Object](event watch.Event, condition Condition[T]) (bool, error) {
	if event.Type == watch.Error {
		// The version is too old, or the server ends the watch: the next list begins anew.
		return false, nil
	}
	object, isObject := event.Object.(T)
	if !isObject {
		return false, nil
	}
	return condition(object, event.Type != watch.Deleted)
}

// failed tells the end of the wait from a real error: client libraries wrap it in their own ways.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
