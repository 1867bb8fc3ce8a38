package pod

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// volumeTypes are what a tenant's pod may mount. All others reach beyond the pod: into the node, or by the node's
// network and the cloud's rights at disks, shares and certificates of anybody. The host's pod security knows only hostPath.
var volumeTypes = sets.New("configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret")

// projectionTypes are the sources of a projected volume that the tenant's own objects answer. podCertificate would be a
// certificate of the host's signers for the host pod, clusterTrustBundle the host's.
var projectionTypes = sets.New("configMap", "downwardAPI", "secret", "serviceAccountToken")

// checkSupported refuses what a host pod could not have in the way that the tenant means it. Pod security level
// privileged means a tenant that is trusted with the nodes, so it may mount what they can mount.
func checkSupported(virtualPod *corev1.Pod, level clusterv1alpha1.PodSecurityLevel) error {
	spec := &virtualPod.Spec
	if len(spec.ResourceClaims) > 0 {
		return engine.Refuse(engine.ReasonNotSupported, "spec.resourceClaims is not supported in a virtual cluster; remove it")
	}
	if spec.SchedulingGroup != nil {
		return engine.Refuse(engine.ReasonNotSupported, "spec.schedulingGroup is not supported in a virtual cluster; remove it")
	}
	var refused []string
	for _, volume := range spec.Volumes {
		if unknown := otherFields(volume.VolumeSource, volumeTypes); len(unknown) > 0 && level != clusterv1alpha1.PodSecurityPrivileged {
			refused = append(refused, fmt.Sprintf("volume %q of type %s", volume.Name, strings.Join(unknown, ", ")))
		}
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if unknown := otherFields(source, projectionTypes); len(unknown) > 0 {
				refused = append(refused, fmt.Sprintf("source %s of volume %q", strings.Join(unknown, ", "), volume.Name))
			}
		}
	}
	if len(refused) > 0 {
		return engine.Refuse(engine.ReasonNotSupported, "a pod of this virtual cluster cannot have: %s; use one of the volume types %s",
			strings.Join(refused, "; "), strings.Join(sets.List(volumeTypes), ", "))
	}
	return nil
}

// otherFields are the fields of a union that are set and are none of those known. It asks the encoding and not the fields,
// so that a type that a newer API has is refused until somebody has thought about it.
func otherFields(union any, known sets.Set[string]) []string {
	data, err := json.Marshal(union)
	if err != nil {
		return []string{"unknown"}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return []string{"unknown"}
	}
	var others []string
	for field := range fields {
		if !known.Has(field) {
			others = append(others, field)
		}
	}
	slices.Sort(others)
	return others
}
