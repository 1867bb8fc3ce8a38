package virtualcluster

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// fieldManager owns what the lifecycle controller writes on the host.
const fieldManager = client.FieldOwner("matryoshka-lifecycle")

// apply brings an object into the rendered form by server-side apply and reads back what the host made of it. It is
// only for objects in places that are the agent's own, so it takes over fields that somebody else has changed.
func apply(ctx context.Context, host client.Client, object client.Object) error {
	body, err := applyBody(object, host.Scheme())
	if err != nil {
		return err
	}
	strict := &client.PatchOptions{Raw: &metav1.PatchOptions{FieldValidation: metav1.FieldValidationStrict}}
	err = host.Patch(ctx, object, client.RawPatch(types.ApplyPatchType, body), strict, fieldManager, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s: %w", describe(object, host.Scheme()), err)
	}
	return nil
}

// applyBody is the object without what a Go type shows but nobody has set: status and empty time stamps.
func applyBody(object client.Object, scheme *runtime.Scheme) ([]byte, error) {
	kind, err := apiutil.GVKForObject(object, scheme)
	if err != nil {
		return nil, fmt.Errorf("find the kind of %T: %w", object, err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("convert %s %q: %w", kind.Kind, object.GetName(), err)
	}
	content["apiVersion"], content["kind"] = kind.GroupVersion().String(), kind.Kind
	withoutUnset(content)
	return json.Marshal(content)
}

// withoutUnset removes nulls everywhere, and status wherever an object or a template of one has it.
func withoutUnset(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if inner == nil || key == "status" {
				delete(value, key)
				continue
			}
			withoutUnset(inner)
		}
	case []any:
		for _, inner := range value {
			withoutUnset(inner)
		}
	}
}

func describe(object client.Object, scheme *runtime.Scheme) string {
	kind := "object"
	if gvk, err := apiutil.GVKForObject(object, scheme); err == nil {
		kind = gvk.Kind
	}
	if object.GetNamespace() == "" {
		return fmt.Sprintf("%s %q", kind, object.GetName())
	}
	return fmt.Sprintf("%s %q", kind, object.GetNamespace()+"/"+object.GetName())
}
