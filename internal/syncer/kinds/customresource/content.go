package customresource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// contentOf is a copy of what an object says: everything but its metadata, and its status where that is a subresource.
func contentOf(object *unstructured.Unstructured, hasStatus bool) map[string]any {
	content := map[string]any{}
	for name, value := range object.Object {
		if isContent(name, hasStatus) {
			content[name] = runtime.DeepCopyJSONValue(value)
		}
	}
	return content
}

func isContent(field string, hasStatus bool) bool {
	switch field {
	case "apiVersion", "kind", "metadata":
		return false
	case "status":
		return !hasStatus
	default:
		return true
	}
}

// setContent makes an object say exactly this.
func setContent(object *unstructured.Unstructured, content map[string]any, hasStatus bool) {
	for name := range object.Object {
		if isContent(name, hasStatus) {
			delete(object.Object, name)
		}
	}
	for name, value := range content {
		object.Object[name] = runtime.DeepCopyJSONValue(value)
	}
}

// fingerprint tells contents apart. It is remembered on a copy: with it, what the other side's defaults and webhooks add to
// the copy is told from what the original no longer says.
func fingerprint(content map[string]any) (string, error) {
	data, err := json.Marshal(content) // keys are sorted
	if err != nil {
		return "", fmt.Errorf("encode the content: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

// covers tells whether have says all that want says; it may say more in maps.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range want {
			other, ok := have[name]
			if !ok || !covers(other, value) {
				return false
			}
		}
		return true
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			return false
		}
		for index := range want {
			if !covers(have[index], want[index]) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(have, want)
	}
}

// mapText is a copy of a value with every text in it, keys too, put through change.
func mapText(value any, change func(string) string) any {
	switch value := value.(type) {
	case map[string]any:
		changed := make(map[string]any, len(value))
		for name, field := range value {
			changed[change(name)] = mapText(field, change)
		}
		return changed
	case []any:
		changed := make([]any, len(value))
		for index := range value {
			changed[index] = mapText(value[index], change)
		}
		return changed
	case string:
		return change(value)
	default:
		return value
	}
}

// mapGenerations replaces, in place, the generation that a status says it is about: those of host and tenant differ, and
// clients compare it with the generation of the object they see.
func mapGenerations(value any, change func(int64) int64) {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			if number, ok := field.(int64); ok && name == "observedGeneration" {
				value[name] = change(number)
				continue
			}
			mapGenerations(field, change)
		}
	case []any:
		for _, element := range value {
			mapGenerations(element, change)
		}
	}
}
