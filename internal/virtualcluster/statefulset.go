package virtualcluster

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

const (
	annotationConfigHash = "matryoshka.dev/config-hash"

	configDirectory = "/etc/matryoshka/config"
	pkiDirectory    = "/etc/matryoshka/pki"
	dataDirectory   = "/var/lib/matryoshka"
	dataVolume      = "data"

	// nonRoot is the user and the group of the control plane.
	nonRoot int64 = 65532
)

func renderStatefulSet(vc *clusterv1alpha1.VirtualCluster, around surroundings, hash string, options *Options) *appsv1.StatefulSet {
	set := &appsv1.StatefulSet{
		ObjectMeta: controlMeta(vc, controlPlaneName),
		Spec: appsv1.StatefulSetSpec{
			Replicas:    ptr.To(runningReplicas(vc)),
			ServiceName: serviceName,
			Selector:    &metav1.LabelSelector{MatchLabels: podSelector()},
			// With OrderedReady a pod that never becomes ready would block the very update that repairs it.
			PodManagementPolicy: appsv1.ParallelPodManagement,
			UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      podLabels(vc),
					Annotations: map[string]string{annotationConfigHash: hash},
				},
				Spec: renderPod(vc, around, options),
			},
		},
	}
	if vc.Spec.Store.Type == clusterv1alpha1.StoreSQLite {
		set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{renderClaim(vc)}
	}
	return set
}

// runningReplicas is none for one that sleeps: its volume stays.
func runningReplicas(vc *clusterv1alpha1.VirtualCluster) int32 {
	if vc.Status.Sleep.IsAsleep() {
		return 0
	}
	return vc.Spec.Replicas
}

func renderPod(vc *clusterv1alpha1.VirtualCluster, around surroundings, options *Options) corev1.PodSpec {
	spec := corev1.PodSpec{
		// The control plane has no identity on the host.
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To(int64(30)),
		DNSPolicy:                     corev1.DNSNone,
		DNSConfig: &corev1.PodDNSConfig{
			Nameservers: []string{around.dnsAddress},
			Options:     []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr.To("2")}},
		},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:        ptr.To(true),
			RunAsUser:           ptr.To(nonRoot),
			RunAsGroup:          ptr.To(nonRoot),
			FSGroup:             ptr.To(nonRoot),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{renderContainer(vc, options)},
		Volumes:    renderVolumes(vc),
	}
	if account := around.account; account != nil {
		spec.NodeSelector, spec.Tolerations, spec.PriorityClassName = account.NodeSelector, account.Tolerations, account.PriorityClass
	}
	return spec
}

func renderContainer(vc *clusterv1alpha1.VirtualCluster, options *Options) corev1.Container {
	resources := containerResources(vc.Spec.Resources)
	return corev1.Container{
		Name:            controlPlaneName,
		Image:           options.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		// The image starts matryd.
		Args:      []string{"controlplane", "--config=" + configDirectory + "/" + configFile},
		Ports:     []corev1.ContainerPort{{Name: portName, ContainerPort: controlPlanePort, Protocol: corev1.ProtocolTCP}},
		Env:       garbageCollection(resources),
		Resources: resources,
		VolumeMounts: []corev1.VolumeMount{
			{Name: configName, MountPath: configDirectory, ReadOnly: true},
			{Name: pkiSecretName, MountPath: pkiDirectory, ReadOnly: true},
			{Name: dataVolume, MountPath: dataDirectory},
			{Name: "tmp", MountPath: "/tmp"},
		},
		// The agent does not wait for these probes; they are for the kubelet's restarts and for people.
		StartupProbe:   probe("/livez", 1, 1, 180),
		ReadinessProbe: probe("/readyz", 10, 5, 3),
		LivenessProbe:  probe("/livez", 20, 10, 6),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

func probe(path string, period, timeout, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Scheme: corev1.URISchemeHTTPS, Path: path, Port: intstr.FromInt32(controlPlanePort),
		}},
		PeriodSeconds:    period,
		TimeoutSeconds:   timeout,
		FailureThreshold: failures,
	}
}

// containerResources are small requests and no limits unless the spec says otherwise. An idle control plane uses 7 millicores and
// 91 MiB. Requests are what fills a node of idle ones: with 50 millicores each, two cores hold 38.
func containerResources(asked *corev1.ResourceRequirements) corev1.ResourceRequirements {
	if asked != nil {
		return *asked
	}
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("20m"),
		corev1.ResourceMemory: resource.MustParse("96Mi"),
	}}
}

// garbageCollection makes a memory limit the collector's soft limit too, at nine tenths, so that it works harder before
// the kernel ends the process. It is left out where it would lie below what is always alive, since the collector would
// then never stop. How much head room there is otherwise the control plane chooses itself.
func garbageCollection(resources corev1.ResourceRequirements) []corev1.EnvVar {
	limit, ok := resources.Limits[corev1.ResourceMemory]
	if !ok {
		return nil
	}
	const alwaysAlive = 192 << 20
	soft := limit.Value() / 10 * 9
	if soft < alwaysAlive {
		return nil
	}
	return []corev1.EnvVar{{Name: "GOMEMLIMIT", Value: strconv.FormatInt(soft, 10)}}
}

func renderVolumes(vc *clusterv1alpha1.VirtualCluster) []corev1.Volume {
	// Readable by the control plane's group and by nobody else.
	mode := ptr.To(int32(0o440))
	volumes := []corev1.Volume{
		{Name: configName, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: configName}, DefaultMode: mode,
		}}},
		{Name: pkiSecretName, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: pkiSecretName, DefaultMode: mode,
		}}},
		{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	if vc.Spec.Store.Type == clusterv1alpha1.StoreMemory {
		volumes = append(volumes, corev1.Volume{Name: dataVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	return volumes
}

func renderClaim(vc *clusterv1alpha1.VirtualCluster) corev1.PersistentVolumeClaim {
	return corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: dataVolume, Labels: controlLabels(vc)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: vc.Spec.Store.StorageClassName,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: vc.Spec.Store.Size,
			}},
		},
	}
}
