package pod

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

func testTranslation() translation {
	return translation{
		tenantUID:      "u-1",
		meta:           metav1.ObjectMeta{Namespace: "vc-x-shop", Name: "web", Labels: map[string]string{}, Annotations: map[string]string{}},
		serviceAddress: "10.96.0.77", dnsServers: []string{"10.96.0.53"}, clusterDomain: "cluster.local",
		hostNamespace: func(namespace string) string { return "vc-x-" + namespace },
		hasPullSecret: func(name string) bool { return name == "mine" },
	}
}

func testPod(change func(*corev1.PodSpec)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "v-1", Labels: map[string]string{"app": "$(X)"}, Annotations: map[string]string{"note": "n"}},
		Spec:       corev1.PodSpec{ServiceAccountName: "worker", Containers: []corev1.Container{{Name: "main"}}},
	}
	change(&pod.Spec)
	return pod
}

// want compares what select picks from the host pod.
func want[T any](t *testing.T, reason string, spec func(*corev1.PodSpec), change func(*translation), wanted T, pick func(*corev1.Pod) T) {
	t.Helper()
	tr, virtualPod := testTranslation(), testPod(spec)
	if change != nil {
		change(&tr)
	}
	before := virtualPod.DeepCopy()
	hostPod, _ := translate(virtualPod, tr)
	if diff := cmp.Diff(wanted, pick(hostPod)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
	if diff := cmp.Diff(before, virtualPod); diff != "" {
		t.Errorf("%s: the tenant's pod was changed:\n%s", reason, diff)
	}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func TestEnvironment(t *testing.T) {
	env := func(pod *corev1.Pod) []corev1.EnvVar {
		// The eight of the API server come first and have their own test.
		return pod.Spec.Containers[0].Env[8:]
	}
	for name, tc := range map[string]struct {
		reason string
		in     corev1.EnvVar
		want   corev1.EnvVar
	}{
		"Namespace":      {"the host pod is in another namespace", fieldEnv("A", "metadata.namespace"), corev1.EnvVar{Name: "A", Value: "shop"}},
		"UID":            {"the host pod has another UID", fieldEnv("A", "metadata.uid"), corev1.EnvVar{Name: "A", Value: "v-1"}},
		"ServiceAccount": {"the host pod has another account", fieldEnv("A", "spec.serviceAccountName"), corev1.EnvVar{Name: "A", Value: "worker"}},
		"Name":           {"the host answers alike", fieldEnv("A", "metadata.name"), fieldEnv("A", "metadata.name")},
		"PodIP":          {"the host answers alike", fieldEnv("A", "status.podIP"), fieldEnv("A", "status.podIP")},
		"NodeName":       {"the host answers alike", fieldEnv("A", "spec.nodeName"), fieldEnv("A", "spec.nodeName")},
		"Plain":          {"a value that the tenant wrote is expanded as it says", corev1.EnvVar{Name: "A", Value: "$(B)"}, corev1.EnvVar{Name: "A", Value: "$(B)"}},
		"RootCA": {
			"the host has its own ConfigMap of this name",
			corev1.EnvVar{Name: "A", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Key: "ca.crt"}}},
			corev1.EnvVar{Name: "A", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "matryoshka-kube-root-ca.crt"}, Key: "ca.crt"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, tc.reason, func(s *corev1.PodSpec) { s.Containers[0].Env = []corev1.EnvVar{tc.in} }, nil, []corev1.EnvVar{tc.want}, env)
		})
	}
}

// TestEnvironmentOfChangingFields: a container that starts again sees the labels and annotations that its pod has by then.
func TestEnvironmentOfChangingFields(t *testing.T) {
	paths := []string{"metadata.labels['app']", "metadata.annotations['note']", "metadata.labels['no']"}
	virtualPod := testPod(func(s *corev1.PodSpec) {
		for _, path := range paths {
			s.Containers[0].Env = append(s.Containers[0].Env, fieldEnv("A", path))
		}
	})
	// seen is what the kubelet makes of the variables of a container of the host pod.
	seen := func(hostPod *corev1.Pod) []string {
		var values []string
		for _, variable := range hostPod.Spec.Containers[0].Env[8:] {
			key, ok := subscript(variable.ValueFrom.FieldRef.FieldPath, "metadata.annotations")
			if !ok || !strings.HasPrefix(key, "field.matryoshka.dev/") {
				t.Errorf("the variable reads %q of the host pod", variable.ValueFrom.FieldRef.FieldPath)
			}
			values = append(values, hostPod.Annotations[key])
		}
		return values
	}
	hostPod, _ := translate(virtualPod, testTranslation())
	if diff := cmp.Diff([]string{"$(X)", "n", ""}, seen(hostPod)); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	virtualPod.Labels["no"] = "now"
	delete(virtualPod.Annotations, "note")
	desired, _ := translate(virtualPod, testTranslation())
	if diff := cmp.Diff([]string{"$(X)", "", "now"}, seen(withChanges(hostPod, desired))); diff != "" {
		t.Errorf("after changes (-want +got):\n%s", diff)
	}
}

func TestAPIServerAddress(t *testing.T) {
	value := func(name string) func(*corev1.Pod) []string {
		return func(pod *corev1.Pod) []string {
			var values []string
			for _, variable := range pod.Spec.Containers[0].Env {
				if variable.Name == name {
					values = append(values, variable.Value)
				}
			}
			return values
		}
	}
	nothing := func(*corev1.PodSpec) {}
	want(t, "the tenant's own address", nothing, nil, []string{"10.96.0.77"}, value("KUBERNETES_SERVICE_HOST"))
	want(t, "its port", nothing, nil, []string{"443"}, value("KUBERNETES_SERVICE_PORT"))
	want(t, "its URL", nothing, nil, []string{"tcp://10.96.0.77:443"}, value("KUBERNETES_PORT"))
	want(t, "an IPv6 URL", nothing, func(tr *translation) { tr.serviceAddress = "fd00::1" }, []string{"tcp://[fd00::1]:443"}, value("KUBERNETES_PORT"))
	own := func(s *corev1.PodSpec) {
		s.Containers[0].Env = []corev1.EnvVar{{Name: "KUBERNETES_SERVICE_HOST", Value: "mine"}}
	}
	want(t, "the pod's own wins", own, nil, []string{"mine"}, value("KUBERNETES_SERVICE_HOST"))
}

func TestIdentity(t *testing.T) {
	class, yes := "gold", true
	hostPod, _ := translate(testPod(func(s *corev1.PodSpec) {
		s.PriorityClassName, s.AutomountServiceAccountToken, s.SchedulerName, s.RuntimeClassName = "system-node-critical", &yes, "mine", &class
		s.Subdomain, s.Hostname = "db", "db-0"
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "mine"}, {Name: "of-the-host"}}
		s.EphemeralContainers = []corev1.EphemeralContainer{{}}
	}), testTranslation())
	spec := hostPod.Spec
	if spec.ServiceAccountName != "matryoshka-workload" || *spec.AutomountServiceAccountToken {
		t.Errorf("account %q, token %v", spec.ServiceAccountName, *spec.AutomountServiceAccountToken)
	}
	if spec.PriorityClassName != "" || spec.Priority != nil || spec.SchedulerName != "" || *spec.RuntimeClassName != "gold" {
		t.Errorf("priority %q, scheduler %q, runtime %v", spec.PriorityClassName, spec.SchedulerName, spec.RuntimeClassName)
	}
	if spec.Subdomain != "" || spec.Hostname != "db-0" || hostPod.Annotations[mapping.AnnotationSubdomain] != "db" {
		t.Errorf("subdomain %q, hostname %q, annotations %v", spec.Subdomain, spec.Hostname, hostPod.Annotations)
	}
	if diff := cmp.Diff([]corev1.LocalObjectReference{{Name: "mine"}}, spec.ImagePullSecrets); diff != "" {
		t.Errorf("pull secrets (-want +got):\n%s", diff)
	}
	if len(spec.EphemeralContainers) != 0 || len(hostPod.Finalizers) != 0 {
		t.Errorf("ephemeral containers %v, finalizers %v", spec.EphemeralContainers, hostPod.Finalizers)
	}
}

func TestHostnameAsFQDN(t *testing.T) {
	yes := true
	override := func(pod *corev1.Pod) string {
		if pod.Spec.HostnameOverride == nil {
			return ""
		}
		return *pod.Spec.HostnameOverride
	}
	asFQDN := func(s *corev1.PodSpec) { s.Subdomain, s.SetHostnameAsFQDN = "db", &yes }
	want(t, "the tenant's full name", asFQDN, nil, "web.db.shop.svc.cluster.local", override)
	var refusal *engine.Refusal
	if err := checkFullName(testPod(asFQDN), strings.Repeat("x", 60)); !errors.As(err, &refusal) {
		t.Errorf("what is too long for the kernel is not refused: %v", err)
	}
	if err := checkFullName(testPod(asFQDN), "cluster.local"); err != nil {
		t.Errorf("a short name is refused: %v", err)
	}
}

func TestDNS(t *testing.T) {
	five, two := "5", "2"
	searches := []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local"}
	tenantDNS := &corev1.PodDNSConfig{Nameservers: []string{"10.96.0.53"}, Searches: searches, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &five}}}
	type dns struct {
		Policy corev1.DNSPolicy
		Config *corev1.PodDNSConfig
	}
	pick := func(pod *corev1.Pod) dns { return dns{pod.Spec.DNSPolicy, pod.Spec.DNSConfig} }
	for name, tc := range map[string]struct {
		spec func(*corev1.PodSpec)
		want dns
	}{
		"ClusterFirst":            {func(s *corev1.PodSpec) { s.DNSPolicy = corev1.DNSClusterFirst }, dns{corev1.DNSNone, tenantDNS}},
		"Unset":                   {func(*corev1.PodSpec) {}, dns{corev1.DNSNone, tenantDNS}},
		"ClusterFirstWithHostNet": {func(s *corev1.PodSpec) { s.DNSPolicy, s.HostNetwork = corev1.DNSClusterFirstWithHostNet, true }, dns{corev1.DNSNone, tenantDNS}},
		"HostNetwork":             {func(s *corev1.PodSpec) { s.DNSPolicy, s.HostNetwork = corev1.DNSClusterFirst, true }, dns{corev1.DNSDefault, nil}},
		"Default":                 {func(s *corev1.PodSpec) { s.DNSPolicy = corev1.DNSDefault }, dns{corev1.DNSDefault, nil}},
		"None": {func(s *corev1.PodSpec) {
			s.DNSPolicy, s.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}}
		}, dns{corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}}}},
		"Merged": {func(s *corev1.PodSpec) {
			s.DNSConfig = &corev1.PodDNSConfig{
				Nameservers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, Searches: []string{"example.test", "cluster.local"},
				Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}},
			}
		}, dns{corev1.DNSNone, &corev1.PodDNSConfig{
			Nameservers: []string{"10.96.0.53", "192.0.2.1", "192.0.2.2"}, Searches: append(slices.Clone(searches), "example.test"),
			Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}},
		}}},
	} {
		t.Run(name, func(t *testing.T) { want(t, name, tc.spec, nil, tc.want, pick) })
	}
}

func TestNodeIsAnAffinity(t *testing.T) {
	hostPod, _ := translate(testPod(func(s *corev1.PodSpec) {
		s.NodeName = "node-1"
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "a", Operator: corev1.NodeSelectorOpExists}}}, {},
			},
		}}}
	}), func() translation {
		tr := testTranslation()
		tr.nodeSelector = map[string]string{"pool": "tenants"}
		return tr
	}())
	terms := hostPod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	wanted := []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "a", Operator: corev1.NodeSelectorOpExists}, {Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: []string{"tenants"}}},
		MatchFields:      []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"}}},
	}, {}}
	if diff := cmp.Diff(wanted, terms); diff != "" || hostPod.Spec.NodeName != "" {
		t.Errorf("node name %q; terms (-want +got):\n%s", hostPod.Spec.NodeName, diff)
	}
}

func TestTolerations(t *testing.T) {
	keys := func(pod *corev1.Pod) []string {
		var keys []string
		for _, toleration := range pod.Spec.Tolerations {
			keys = append(keys, toleration.Key)
		}
		return keys
	}
	want(t, "the control plane's are dropped", func(s *corev1.PodSpec) {
		s.Tolerations = []corev1.Toleration{{Key: "node-role.kubernetes.io/control-plane"}, {Key: "mine"}}
	}, nil, []string{"mine"}, keys)
	want(t, "everything is what a node's state can be", func(s *corev1.PodSpec) {
		s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	}, nil, nodeStateTaints, keys)
}

// What the tenant's scheduler has settled does not go down: it may be about labels and resources that the host does not have.
func TestPlacedPod(t *testing.T) {
	one := corev1.ResourceList{"example.com/mine": resource.MustParse("1"), "example.com/gpu": resource.MustParse("1")}
	virtualPod := testPod(func(s *corev1.PodSpec) {
		s.NodeName, s.NodeSelector = "node-1", map[string]string{"mine": "yes"}
		s.Affinity = &corev1.Affinity{
			NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "mine", Operator: corev1.NodeSelectorOpExists}}}, {},
			}}},
			PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "mine"}}},
		}
		s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{TopologyKey: "mine", MaxSkew: 1}}
		s.Containers[0].Resources = corev1.ResourceRequirements{Requests: one.DeepCopy(), Limits: one.DeepCopy()}
	})
	with := testTranslation()
	with.isPlaced, with.overlaid, with.nodeSelector = true, []corev1.ResourceName{"example.com/mine"}, map[string]string{"pool": "a"}
	hostPod, _ := translate(virtualPod, with)
	spec := hostPod.Spec
	want := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}},
			MatchFields:      []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"}}},
		}},
	}}}
	if diff := cmp.Diff(want, spec.Affinity); diff != "" {
		t.Errorf("affinity (-want +got):\n%s", diff)
	}
	if spec.NodeName != "" || spec.NodeSelector != nil || spec.TopologySpreadConstraints != nil {
		t.Errorf("it has node %q, selector %v, spread %v", spec.NodeName, spec.NodeSelector, spec.TopologySpreadConstraints)
	}
	left := corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}
	if diff := cmp.Diff(corev1.ResourceRequirements{Requests: left, Limits: left}, spec.Containers[0].Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if wishes := notApplied(virtualPod, hostPod); len(wishes) != 0 {
		t.Errorf("the tenant is told that it has not %v", wishes)
	}
	// The tenant may take the resource away again; a pod that runs is left as it is.
	with.overlaid = nil
	desired, _ := translate(virtualPod, with)
	if diff := cmp.Diff(hostPod, withResources(hostPod, desired)); diff != "" {
		t.Errorf("the running pod is changed:\n%s", diff)
	}
}

func TestNamespaceSelectorNeverSelectsForeignNamespaces(t *testing.T) {
	for name, selector := range map[string]*metav1.LabelSelector{
		"Everything": {},
		"NotIn":      {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x"}}}},
		"Forged":     {MatchLabels: map[string]string{mapping.LabelUID: "u-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			hostPod, _ := translate(testPod(func(s *corev1.PodSpec) {
				s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
					{NamespaceSelector: selector, Namespaces: []string{"other"}, MatchLabelKeys: []string{"pod-template-hash"}},
				}}}
			}), testTranslation())
			term := hostPod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
			if term.NamespaceSelector.MatchLabels[mapping.LabelUID] != "u-1" || term.Namespaces[0] != "vc-x-other" || term.MatchLabelKeys != nil {
				t.Errorf("term: %+v", term)
			}
			for _, requirement := range term.NamespaceSelector.MatchExpressions {
				if !strings.HasPrefix(requirement.Key, mapping.NamespaceLabelPrefix) {
					t.Errorf("requirement on the host's own label %q", requirement.Key)
				}
			}
		})
	}
}

func TestVolumesOfAServiceAccount(t *testing.T) {
	life := int64(600)
	hostPod, wanted := translate(testPod(func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{
			{Name: "access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
					{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}},
					{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
				}}},
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "vault", Audience: "vault", ExpirationSeconds: &life}},
			}}}},
			{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			}}}},
			{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
		}
	}), testTranslation())

	wantBundle := bundle{
		tokens: []tokenFile{{key: "token-0", seconds: 3600}, {key: "token-1", audience: "vault", seconds: 600}},
		fields: []fieldFile{{key: "field-0", path: "metadata.namespace"}, {key: "field-1", path: "metadata.labels"}}, rootCA: true,
	}
	if diff := cmp.Diff(wantBundle, wanted, cmp.AllowUnexported(bundle{}, tokenFile{}, fieldFile{})); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
	secret := func(items ...corev1.KeyToPath) corev1.VolumeProjection {
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "matryoshka-pod-v-1"}, Items: items}}
	}
	wantVolumes := []corev1.Volume{
		{Name: "access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}},
			secret(corev1.KeyToPath{Key: "token-0", Path: "token"}, corev1.KeyToPath{Key: "ca.crt", Path: "ca.crt"},
				corev1.KeyToPath{Key: "field-0", Path: "namespace"}, corev1.KeyToPath{Key: "token-1", Path: "vault"}),
		}}}},
		{Name: "info", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{secret(corev1.KeyToPath{Key: "field-1", Path: "labels"})}}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "web-scratch"}}},
	}
	if diff := cmp.Diff(wantVolumes, hostPod.Spec.Volumes); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
}

func TestReferences(t *testing.T) {
	yes := true
	found := referencesOf(testPod(func(s *corev1.PodSpec) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
		s.InitContainers = []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "both"}, Optional: &yes}}}}}
		s.Containers[0].Env = []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "both"}}}}}
		s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "debug"}}}},
		}}}
		s.Volumes = []corev1.Volume{
			{Name: "a", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "file"}, Optional: &yes}}},
			{Name: "b", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "csi"}}}},
			{Name: "c", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "d", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			{Name: "e", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "projected"}}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}},
			}}}},
			{Name: "f", VolumeSource: corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{SecretName: "azure"}}},
		}
	}))
	wanted := references{
		pullSecrets: []reference{{name: "pull"}},
		secrets:     []reference{{name: "both"}, {name: "csi"}, {name: "projected"}, {name: "azure"}},
		configMaps:  []reference{{name: "debug"}, {name: "file", optional: true}},
		claims:      []reference{{name: "data"}, {name: "web-d"}},
	}
	if diff := cmp.Diff(wanted, found, cmp.AllowUnexported(references{}, reference{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusUp(t *testing.T) {
	virtualPod := testPod(func(s *corev1.PodSpec) { s.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "gate"}} })
	virtualPod.Generation, virtualPod.Status.QOSClass = 7, corev1.PodQOSBurstable
	virtualPod.Status.Conditions = []corev1.PodCondition{{Type: "gate", Status: corev1.ConditionTrue}, {Type: "Mine", Status: corev1.ConditionTrue}, {Type: corev1.PodInitialized}}
	hostPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "h-1", Generation: 2}, Status: corev1.PodStatus{
		ObservedGeneration: 2, Phase: corev1.PodRunning, PodIP: "192.0.2.10", QOSClass: corev1.PodQOSBestEffort,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, ObservedGeneration: 2}, {Type: "gate", Status: corev1.ConditionFalse}},
		ContainerStatuses: []corev1.ContainerStatus{
			{Name: "injected-by-the-host"},
			{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Message: "pod=web_HOST(h-1)"}}},
		},
	}}
	got := statusUp(virtualPod, hostPod, nil, func(text string) string { return strings.ReplaceAll(text, "HOST", "shop") })
	wanted := corev1.PodStatus{
		ObservedGeneration: 7, Phase: corev1.PodRunning, PodIP: "192.0.2.10", QOSClass: corev1.PodQOSBurstable,
		Conditions: []corev1.PodCondition{
			{Type: "gate", Status: corev1.ConditionTrue}, {Type: "Mine", Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue, ObservedGeneration: 7},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Message: "pod=web_shop(v-1)"}}}},
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	virtualPod.Status = got
	if diff := cmp.Diff(got, statusUp(virtualPod, hostPod, nil, func(text string) string { return strings.ReplaceAll(text, "HOST", "shop") })); diff != "" {
		t.Errorf("the second time it is another:\n%s", diff)
	}
}

func TestPatchOfHasTheUIDAndNothingElse(t *testing.T) {
	from := testPod(func(*corev1.PodSpec) {})
	if data, err := patchOf(from, from.DeepCopy()); err != nil || data != nil {
		t.Errorf("no difference makes the patch %s (%v)", data, err)
	}
	to := from.DeepCopy()
	to.Status.Phase = corev1.PodRunning
	data, err := patchOf(from, to)
	if wanted := `{"metadata":{"uid":"v-1"},"status":{"phase":"Running"}}`; err != nil || string(data) != wanted {
		t.Errorf("got %s (%v), want %s", data, err, wanted)
	}
}
