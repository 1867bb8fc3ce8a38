package engine

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Get reads an object into empty and returns it; ok is false if it does not exist.
func Get[T client.Object](ctx context.Context, from client.Reader, key client.ObjectKey, empty T) (found T, ok bool, err error) {
	err = from.Get(ctx, key, empty)
	switch {
	case err == nil:
		return empty, true, nil
	case apierrors.IsNotFound(err):
		return found, false, nil
	default:
		return found, false, fmt.Errorf("get %s %q: %w", kindOf(empty), key, err)
	}
}
