package persistentvolumeclaim

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// Annotations of claims that volume controllers act on.
const (
	annotationBindCompleted = "pv.kubernetes.io/bind-completed"
	annotationBoundBy       = "pv.kubernetes.io/bound-by-controller"
	annotationStorageClass  = "volume.beta.kubernetes.io/storage-class"
	annotationSelectedNode  = "volume.kubernetes.io/selected-node"
)

// steersVolumes tells whether an annotation is read by the host's volume controllers. Copied from a tenant it could
// claim that a foreign volume is already bound.
func steersVolumes(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return domain == "pv.kubernetes.io" || domain == "volume.kubernetes.io" || domain == "volume.beta.kubernetes.io"
}

// withoutSteering is the tenant claim without what must not go down, as HostMeta is to see it.
func withoutSteering(virtualClaim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	bare := &corev1.PersistentVolumeClaim{ObjectMeta: *virtualClaim.ObjectMeta.DeepCopy()}
	for key := range bare.Annotations {
		if steersVolumes(key) {
			delete(bare.Annotations, key)
		}
	}
	return bare
}

// storageClassName is the class that a claim names in either of the two ways; nil takes the default class.
func storageClassName(virtualClaim *corev1.PersistentVolumeClaim) *string {
	if virtualClaim.Spec.StorageClassName != nil {
		return clone(virtualClaim.Spec.StorageClassName)
	}
	if name, ok := virtualClaim.Annotations[annotationStorageClass]; ok {
		return &name
	}
	return nil
}

// hostSpec is the spec of a new host claim. volumeName is the volume that it must be bound to again; empty lets the
// host choose or provision one. A Refusal says what a claim of a virtual cluster cannot have.
func hostSpec(virtualClaim *corev1.PersistentVolumeClaim, volumeName string) (corev1.PersistentVolumeClaimSpec, error) {
	if err := check(virtualClaim, volumeName); err != nil {
		return corev1.PersistentVolumeClaimSpec{}, err
	}
	spec := corev1.PersistentVolumeClaimSpec{
		AccessModes:      slices.Clone(virtualClaim.Spec.AccessModes),
		Resources:        *virtualClaim.Spec.Resources.DeepCopy(),
		StorageClassName: storageClassName(virtualClaim),
		VolumeMode:       clone(virtualClaim.Spec.VolumeMode),
		VolumeName:       volumeName,
	}
	if volumeName == "" {
		spec.DataSource = virtualClaim.Spec.DataSource.DeepCopy()
		spec.DataSourceRef = virtualClaim.Spec.DataSourceRef.DeepCopy()
	}
	return spec, nil
}

func check(virtualClaim *corev1.PersistentVolumeClaim, volumeName string) error {
	spec := virtualClaim.Spec
	class := storageClassName(virtualClaim)
	switch {
	case volumeName == "" && spec.VolumeName != "":
		return engine.Refuse(engine.ReasonNotSupported,
			"spec.volumeName %q is no volume that a claim of this name left behind; leave it out and name a StorageClass, so that the host provisions a volume", spec.VolumeName)
	case spec.Selector != nil:
		return engine.Refuse(engine.ReasonNotSupported,
			"spec.selector would choose among the host's volumes; leave it out and name a StorageClass, so that the host provisions a volume")
	case volumeName == "" && class != nil && *class == "":
		return engine.Refuse(engine.ReasonNotSupported,
			`spec.storageClassName "" asks for a volume made by hand, which a virtual cluster cannot have; name a StorageClass, or leave it out for the default one`)
	case spec.VolumeAttributesClassName != nil && *spec.VolumeAttributesClassName != "":
		return engine.Refuse(engine.ReasonNotSupported, "spec.volumeAttributesClassName is not supported in a virtual cluster; leave it out")
	}
	if source := foreignSource(virtualClaim); source != "" {
		return engine.Refuse(engine.ReasonNotSupported,
			"spec.dataSource of kind %s is not supported in a virtual cluster; it must be a PersistentVolumeClaim or a VolumeSnapshot of the same namespace", source)
	}
	return nil
}

// foreignSource is what a claim wants to be filled from that is neither a claim nor a snapshot of its own namespace.
func foreignSource(virtualClaim *corev1.PersistentVolumeClaim) string {
	if source := virtualClaim.Spec.DataSource; source != nil && !isClaim(source.Kind, source.APIGroup) && !isSnapshot(source.Kind, source.APIGroup) {
		return source.Kind
	}
	source := virtualClaim.Spec.DataSourceRef
	switch {
	case source == nil:
		return ""
	case !isClaim(source.Kind, source.APIGroup) && !isSnapshot(source.Kind, source.APIGroup):
		return source.Kind
	case source.Namespace != nil && *source.Namespace != "" && *source.Namespace != virtualClaim.Namespace:
		return source.Kind + " in another namespace"
	}
	return ""
}

func isClaim(kind string, group *string) bool {
	return kind == "PersistentVolumeClaim" && (group == nil || *group == "")
}

func isSnapshot(kind string, group *string) bool {
	return kind == "VolumeSnapshot" && group != nil && *group == "snapshot.storage.k8s.io"
}

// sources are the claims and the snapshots that a claim is to be filled from.
func sources(virtualClaim *corev1.PersistentVolumeClaim) (claims, snapshots []string) {
	add := func(kind string, group *string, name string) {
		if isSnapshot(kind, group) {
			snapshots = append(snapshots, name)
		} else {
			claims = append(claims, name)
		}
	}
	if source := virtualClaim.Spec.DataSourceRef; source != nil {
		add(source.Kind, source.APIGroup, source.Name)
	}
	if source := virtualClaim.Spec.DataSource; source != nil {
		add(source.Kind, source.APIGroup, source.Name)
	}
	return claims, snapshots
}

// grow brings a wish for another size down. The API allows it for bound claims only.
func grow(hostClaim, virtualClaim *corev1.PersistentVolumeClaim) {
	want, ok := virtualClaim.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok || hostClaim.Status.Phase != corev1.ClaimBound || virtualClaim.Status.Phase != corev1.ClaimBound {
		return
	}
	have := hostClaim.Spec.Resources.Requests[corev1.ResourceStorage]
	if have.Cmp(want) == 0 {
		return
	}
	if hostClaim.Spec.Resources.Requests == nil {
		hostClaim.Spec.Resources.Requests = corev1.ResourceList{}
	}
	hostClaim.Spec.Resources.Requests[corev1.ResourceStorage] = want
}

// bind makes a tenant claim say what it is bound to, as a volume controller would.
func bind(virtualClaim, hostClaim *corev1.PersistentVolumeClaim, hostVolume *corev1.PersistentVolume) {
	virtualClaim.Spec.VolumeName = hostVolume.Name
	if storageClassName(virtualClaim) == nil {
		virtualClaim.Spec.StorageClassName = clone(hostClaim.Spec.StorageClassName)
	}
	metav1.SetMetaDataAnnotation(&virtualClaim.ObjectMeta, annotationBindCompleted, "yes")
	metav1.SetMetaDataAnnotation(&virtualClaim.ObjectMeta, annotationBoundBy, "yes")
	metav1.SetMetaDataAnnotation(&virtualClaim.ObjectMeta, AnnotationHostVolumeUID, string(hostVolume.UID))
}

func clone[T any](value *T) *T {
	if value == nil {
		return nil
	}
	copied := *value
	return &copied
}
