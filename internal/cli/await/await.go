// Package await waits until an object of a cluster is as somebody wants it, by a watch.
//
// Who may read an object and not watch it, as the people of an account their spaces, waits by reading it again and again.
//
// It is not for controllers. Its invariants: it looks at states, never at single events, so nothing is missed when a
// watch ends early; it never asks more often than once in half a second; it ends with the context.
package await

import (
	"context"
	"fmt"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// again is the pause before a watch that ended is started anew.
const again = 500 * time.Millisecond

// closed is how long an object may be forbidden to read that was never seen: the right to read what one has just made comes
// when the agent has seen it.
const closed = 15 * time.Second

// Condition tells whether the object is as wanted. The object is nil when it does not exist. An error ends the wait.
type Condition[T client.Object] func(object T, exists bool) (bool, error)

// Until waits until the condition holds for the object of this key. The list is an empty list of the object's type.
func Until[T client.Object](ctx context.Context, cluster client.WithWatch, key client.ObjectKey, list client.ObjectList, condition Condition[T]) error {
	return until(ctx, &wait[T]{cluster: cluster, key: key, list: list, condition: condition})
}

// UntilGone waits until the object is gone: it does not exist, is another one of the same name, or may not be read any more by somebody
// who could. The list is an empty list of the object's type.
func UntilGone[T client.Object](ctx context.Context, cluster client.WithWatch, object T, list client.ObjectList) error {
	return until(ctx, &wait[T]{
		cluster: cluster, key: client.ObjectKeyFromObject(object), list: list, wasSeen: true,
		condition: func(now T, exists bool) (bool, error) { return !exists || now.GetUID() != object.GetUID(), nil },
	})
}

// wait is one wait for one object.
type wait[T client.Object] struct {
	cluster   client.WithWatch
	key       client.ObjectKey
	list      client.ObjectList
	condition Condition[T]

	// wasSeen is that the object could be read before.
	wasSeen bool
	// since is when it was first forbidden to read the object, before it was seen.
	since time.Time
}

func until[T client.Object](ctx context.Context, w *wait[T]) error {
	for {
		done, err := once(ctx, w.cluster, w.key, w.list, w.condition)
		if apierrors.IsForbidden(err) {
			done, err = w.read(ctx)
		}
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

// read looks at the object alone, for somebody who may not watch.
func (w *wait[T]) read(ctx context.Context) (bool, error) {
	var none T
	object := reflect.New(reflect.TypeOf(none).Elem()).Interface().(T)
	err := w.cluster.Get(ctx, w.key, object)
	switch {
	case err == nil:
		w.wasSeen = true
		return w.condition(object, true)
	case apierrors.IsNotFound(err):
		return w.condition(none, false)
	case apierrors.IsForbidden(err) && w.wasSeen:
		// The right to read it has gone with it.
		return w.condition(none, false)
	case apierrors.IsForbidden(err) && w.isEarly():
		return false, nil
	}
	return false, failed(ctx, err)
}

// isEarly tells whether the right to read the object may be about to come.
func (w *wait[T]) isEarly() bool {
	if w.since.IsZero() {
		w.since = time.Now()
	}
	return time.Since(w.since) < closed
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
