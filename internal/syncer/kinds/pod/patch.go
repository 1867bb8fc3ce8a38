package pod

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patch writes the difference between two states of one pod, to a subresource if one is named. It does nothing if there
// is none. It refuses if the pod has another UID by now, and does not mind what others have changed in between: a
// kubelet changes its pods too often for that.
func patch(ctx context.Context, writer client.Client, subresource string, from, to *corev1.Pod) (changed bool, err error) {
	data, err := patchOf(from, to)
	if err != nil || data == nil {
		return false, err
	}
	_, err = send(ctx, writer, subresource, from, data)
	return true, err
}

// send writes a patch and returns the pod as it is then.
func send(ctx context.Context, writer client.Client, subresource string, pod *corev1.Pod, data []byte) (*corev1.Pod, error) {
	target := &corev1.Pod{}
	target.Namespace, target.Name = pod.Namespace, pod.Name
	raw := client.RawPatch(types.StrategicMergePatchType, data)
	if subresource == "" {
		return target, writer.Patch(ctx, target, raw)
	}
	return target, writer.SubResource(subresource).Patch(ctx, target, raw)
}

// patchOf is the strategic merge patch with the UID as precondition, or nil if nothing differs.
func patchOf(from, to *corev1.Pod) ([]byte, error) {
	old, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	new, err := json.Marshal(to)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	data, err := strategicpatch.CreateTwoWayMergePatch(old, new, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	var content map[string]any
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("read patch: %w", err)
	}
	if len(content) == 0 {
		return nil, nil
	}
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["uid"] = from.UID
	return json.Marshal(content)
}
