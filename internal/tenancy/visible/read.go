package visible

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// MaxNames is how many objects are read one by one at most.
	MaxNames = 1000
	// atOnce is how many requests for objects are under way at a time.
	atOnce = 8
)

// ErrTooMany is that there are more names than MaxNames.
var ErrTooMany = errors.New("too many objects to read one by one")

// Read reads the objects of these names, one by one, in the order of the names. What is gone, or is not to be read any more, is left
// out: rules may name what is being deleted.
func Read[T client.Object](ctx context.Context, from client.Reader, names []string, empty func() T) ([]T, error) {
	if len(names) > MaxNames {
		return nil, fmt.Errorf("%w: %d names, at most %d", ErrTooMany, len(names), MaxNames)
	}
	objects, found := make([]T, len(names)), make([]bool, len(names))
	err := each(ctx, len(names), func(ctx context.Context, i int) error {
		object := empty()
		err := from.Get(ctx, client.ObjectKey{Name: names[i]}, object)
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return nil
		}
		objects[i], found[i] = object, err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	kept := make([]T, 0, len(names))
	for i, object := range objects {
		if found[i] {
			kept = append(kept, object)
		}
	}
	return kept, nil
}

// ListIn lists in each of these namespaces, in their order. A namespace that is gone or closed is left out.
func ListIn[L client.ObjectList](ctx context.Context, from client.Reader, namespaces []string, empty func() L, options ...client.ListOption) ([]L, error) {
	if len(namespaces) > MaxNames {
		return nil, fmt.Errorf("%w: %d namespaces, at most %d", ErrTooMany, len(namespaces), MaxNames)
	}
	lists, found := make([]L, len(namespaces)), make([]bool, len(namespaces))
	err := each(ctx, len(namespaces), func(ctx context.Context, i int) error {
		list := empty()
		in := append([]client.ListOption{client.InNamespace(namespaces[i])}, options...)
		err := from.List(ctx, list, in...)
		if apierrors.IsForbidden(err) {
			return nil
		}
		lists[i], found[i] = list, err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	kept := make([]L, 0, len(namespaces))
	for i, list := range lists {
		if found[i] {
			kept = append(kept, list)
		}
	}
	return kept, nil
}

// each calls do for 0 to n-1, a few at a time, and returns the first error.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}
