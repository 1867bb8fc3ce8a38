package virtualcluster

import (
	"bytes"
	"maps"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

func equalFiles(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// hasLabels tells whether an object carries at least these labels.
func hasLabels(object client.Object, labels map[string]string) bool {
	present := object.GetLabels()
	for key, value := range labels {
		if present[key] != value {
			return false
		}
	}
	return true
}
