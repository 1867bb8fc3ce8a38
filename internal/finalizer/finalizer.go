// Package finalizer puts finalizers on objects and takes them off, by a patch of that list alone.
//
// A typed update writes the whole object as this program's types know it: it drops fields that are not of this release, and
// zero fields such as "suspended: false" that somebody has written, and so changes a spec that the agent must not change. A
// patch of the list leaves everything else alone. It carries the object's UID and version: of a list that somebody else
// has changed meanwhile nothing is lost, and an object of the same name is not touched.
package finalizer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Add puts a finalizer on an object unless it is there. The object is then as the API server has stored it. If somebody has
// changed it since it was read, that is a conflict.
func Add(ctx context.Context, host client.Writer, object client.Object, name string, options ...client.PatchOption) error {
	if slices.Contains(object.GetFinalizers(), name) {
		return nil
	}
	if err := write(ctx, host, object, append(slices.Clone(object.GetFinalizers()), name), options); err != nil {
		return fmt.Errorf("add the finalizer: %w", err)
	}
	return nil
}

// Remove takes a finalizer off an object if it is there. If somebody has changed the object since it was read, that is a
// conflict; that it is gone is none.
func Remove(ctx context.Context, host client.Writer, object client.Object, name string, options ...client.PatchOption) error {
	if !slices.Contains(object.GetFinalizers(), name) {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(object.GetFinalizers()), func(finalizer string) bool { return finalizer == name })
	if err := client.IgnoreNotFound(write(ctx, host, object, rest, options)); err != nil {
		return fmt.Errorf("remove the finalizer: %w", err)
	}
	return nil
}

func write(ctx context.Context, host client.Writer, object client.Object, finalizers []string, options []client.PatchOption) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": object.GetUID(), "resourceVersion": object.GetResourceVersion(), "finalizers": finalizers,
	}})
	if err != nil {
		return fmt.Errorf("write the patch: %w", err)
	}
	return host.Patch(ctx, object, client.RawPatch(types.MergePatchType, body), options...)
}
