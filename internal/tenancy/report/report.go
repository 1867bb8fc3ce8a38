// Package report writes the part of a status that one controller knows. Several controllers report on one object: each owns its
// fields and its conditions by server-side apply, so that none brings back old words of another.
package report

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Part is what a controller says of an object: all that it ever says, each time.
type Part struct {
	// Fields of the status by their JSON names, without conditions. Nil values are left out.
	Fields map[string]any
	// Conditions that the controller owns. Their times and generations are filled in.
	Conditions []metav1.Condition
}

// Write writes a part unless the object has it already. present are the conditions that the object has. An object that is gone
// needs no status.
func Write(ctx context.Context, host client.Client, object client.Object, present []metav1.Condition, owner client.FieldOwner, part Part) error {
	status := map[string]any{"observedGeneration": object.GetGeneration()}
	for name, value := range part.Fields {
		if value != nil {
			status[name] = value
		}
	}
	status["conditions"] = complete(object, present, part.Conditions)
	wanted, err := plain(status)
	if err != nil {
		return err
	}
	has, err := isIn(wanted, object)
	if err != nil || has {
		return err
	}
	kind, err := apiutil.GVKForObject(object, host.Scheme())
	if err != nil {
		return fmt.Errorf("find the kind of %T: %w", object, err)
	}
	metadata := map[string]any{"name": object.GetName(), "uid": object.GetUID()}
	if object.GetNamespace() != "" {
		metadata["namespace"] = object.GetNamespace()
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind, "metadata": metadata, "status": wanted,
	})
	if err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	target, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("copy %T", object)
	}
	err = host.Status().Patch(ctx, target, client.RawPatch(types.ApplyPatchType, body), owner, client.ForceOwnership)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the status of %s %q: %w", kind.Kind, object.GetName(), err)
	}
	return nil
}

// complete adds to each condition the generation that it is about and the time since which it has its status.
func complete(object client.Object, present, conditions []metav1.Condition) []metav1.Condition {
	completed := make([]metav1.Condition, 0, len(conditions))
	for _, condition := range conditions {
		condition.ObservedGeneration = object.GetGeneration()
		condition.LastTransitionTime = metav1.Now()
		if before := apimeta.FindStatusCondition(present, condition.Type); before != nil && before.Status == condition.Status {
			condition.LastTransitionTime = before.LastTransitionTime
		}
		completed = append(completed, condition)
	}
	return completed
}

func plain(value any) (map[string]any, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write the status: %w", err)
	}
	var generic map[string]any
	if err := json.Unmarshal(body, &generic); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	return generic, nil
}

// isIn tells whether the object's status says all of this already.
func isIn(wanted map[string]any, object client.Object) (bool, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return false, fmt.Errorf("convert %T: %w", object, err)
	}
	content, err = plain(content)
	if err != nil {
		return false, err
	}
	status, _ := content["status"].(map[string]any)
	for name, value := range wanted {
		if name == "conditions" {
			if !hasConditions(status[name], value) {
				return false, nil
			}
			continue
		}
		if !equality.Semantic.DeepEqual(status[name], value) {
			return false, nil
		}
	}
	return true, nil
}

func hasConditions(present, wanted any) bool {
	byType := map[any]any{}
	list, _ := present.([]any)
	for _, condition := range list {
		if condition, ok := condition.(map[string]any); ok {
			byType[condition["type"]] = condition
		}
	}
	list, _ = wanted.([]any)
	for _, condition := range list {
		condition, ok := condition.(map[string]any)
		if !ok || !equality.Semantic.DeepEqual(byType[condition["type"]], any(condition)) {
			return false
		}
	}
	return true
}
