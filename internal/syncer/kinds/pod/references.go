package pod

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// reference is an object in the pod's namespace that a pod refers to by name.
type reference struct {
	name     string
	optional bool
}

// references are all objects that a pod refers to, each once; it is optional only if every mention of it is.
type references struct {
	configMaps, secrets, claims, pullSecrets []reference
}

// configMapNames are the ConfigMaps that a pod refers to.
func configMapNames(pod *corev1.Pod) []string { return names(referencesOf(pod).configMaps) }

// secretNames are the Secrets that a pod refers to.
func secretNames(pod *corev1.Pod) []string {
	found := referencesOf(pod)
	return names(append(found.secrets, found.pullSecrets...))
}

func needsConfigMap(pod *corev1.Pod, name string) bool {
	return requires(referencesOf(pod).configMaps, name)
}

func needsSecret(pod *corev1.Pod, name string) bool { return requires(referencesOf(pod).secrets, name) }

func requires(refs []reference, name string) bool {
	return slices.ContainsFunc(refs, func(r reference) bool { return r.name == name && !r.optional })
}

func claimNames(pod *corev1.Pod) []string { return names(referencesOf(pod).claims) }

func names(of []reference) []string {
	var result []string
	for _, r := range of {
		if !slices.Contains(result, r.name) {
			result = append(result, r.name)
		}
	}
	return result
}

func referencesOf(pod *corev1.Pod) references {
	var found references
	for _, secret := range pod.Spec.ImagePullSecrets {
		add(&found.pullSecrets, secret.Name, nil)
	}
	eachContainer(&pod.Spec, func(container *corev1.Container) {
		found.addEnv(container.Env, container.EnvFrom)
	})
	for index := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[index]
		found.addEnv(container.Env, container.EnvFrom)
	}
	for index := range pod.Spec.Volumes {
		found.addVolume(pod, &pod.Spec.Volumes[index])
	}
	return found
}

// add notes a reference. Names are empty in some old objects; they refer to nothing.
func add(to *[]reference, name string, optional *bool) {
	if name == "" {
		return
	}
	isOptional := optional != nil && *optional
	for index := range *to {
		if (*to)[index].name == name {
			(*to)[index].optional = (*to)[index].optional && isOptional
			return
		}
	}
	*to = append(*to, reference{name: name, optional: isOptional})
}

func (r *references) addEnv(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for _, variable := range env {
		if variable.ValueFrom == nil {
			continue
		}
		if ref := variable.ValueFrom.ConfigMapKeyRef; ref != nil {
			add(&r.configMaps, ref.Name, ref.Optional)
		}
		if ref := variable.ValueFrom.SecretKeyRef; ref != nil {
			add(&r.secrets, ref.Name, ref.Optional)
		}
	}
	for _, source := range from {
		if ref := source.ConfigMapRef; ref != nil {
			add(&r.configMaps, ref.Name, ref.Optional)
		}
		if ref := source.SecretRef; ref != nil {
			add(&r.secrets, ref.Name, ref.Optional)
		}
	}
}

func (r *references) addVolume(pod *corev1.Pod, volume *corev1.Volume) {
	mustExist := new(bool)
	switch source := volume.VolumeSource; {
	case source.ConfigMap != nil:
		add(&r.configMaps, source.ConfigMap.Name, source.ConfigMap.Optional)
	case source.Secret != nil:
		add(&r.secrets, source.Secret.SecretName, source.Secret.Optional)
	case source.PersistentVolumeClaim != nil:
		add(&r.claims, source.PersistentVolumeClaim.ClaimName, mustExist)
	case source.Ephemeral != nil:
		add(&r.claims, ephemeralClaim(pod, volume), mustExist)
	case source.CSI != nil && source.CSI.NodePublishSecretRef != nil:
		add(&r.secrets, source.CSI.NodePublishSecretRef.Name, mustExist)
	case source.Projected != nil:
		r.addProjected(source.Projected)
	default:
		r.addDriver(source)
	}
}

func (r *references) addProjected(projected *corev1.ProjectedVolumeSource) {
	for _, source := range projected.Sources {
		if source.ConfigMap != nil && source.ConfigMap.Name != rootCAConfigMap {
			add(&r.configMaps, source.ConfigMap.Name, source.ConfigMap.Optional)
		}
		if source.Secret != nil {
			add(&r.secrets, source.Secret.Name, source.Secret.Optional)
		}
	}
}

// addDriver notes the Secrets of the old in-tree volume drivers.
func (r *references) addDriver(source corev1.VolumeSource) {
	for _, ref := range []*corev1.LocalObjectReference{
		fieldOf(source.CephFS, func(s *corev1.CephFSVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
		fieldOf(source.Cinder, func(s *corev1.CinderVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
		fieldOf(source.FlexVolume, func(s *corev1.FlexVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
		fieldOf(source.ISCSI, func(s *corev1.ISCSIVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
		fieldOf(source.RBD, func(s *corev1.RBDVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
		fieldOf(source.ScaleIO, func(s *corev1.ScaleIOVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
		fieldOf(source.StorageOS, func(s *corev1.StorageOSVolumeSource) *corev1.LocalObjectReference { return s.SecretRef }),
	} {
		if ref != nil {
			add(&r.secrets, ref.Name, nil)
		}
	}
	if source.AzureFile != nil {
		add(&r.secrets, source.AzureFile.SecretName, nil)
	}
}

func fieldOf[S any](source *S, field func(*S) *corev1.LocalObjectReference) *corev1.LocalObjectReference {
	if source == nil {
		return nil
	}
	return field(source)
}

// ephemeralClaim is the name of the claim that the tenant's own controller makes for an ephemeral volume.
func ephemeralClaim(pod *corev1.Pod, volume *corev1.Volume) string {
	return pod.Name + "-" + volume.Name
}

// eachContainer visits the init containers and the containers.
func eachContainer(spec *corev1.PodSpec, visit func(container *corev1.Container)) {
	for index := range spec.InitContainers {
		visit(&spec.InitContainers[index])
	}
	for index := range spec.Containers {
		visit(&spec.Containers[index])
	}
}
