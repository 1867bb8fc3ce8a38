package quota

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
)

func raw(t *testing.T, object any) runtime.RawExtension {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: text}
}

func podOf(containers ...corev1.ResourceRequirements) *corev1.Pod {
	pod := &corev1.Pod{}
	for _, one := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Resources: one})
	}
	return pod
}

func requests(cpu, memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}}
}

func TestNeed(t *testing.T) {
	two := podOf(requests("100m", "1Gi"), requests("0.2", "1M"))
	two.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1")}
	ended := two.DeepCopy()
	ended.Status.Phase = corev1.PodSucceeded
	withInit := podOf(requests("100m", "1Mi"))
	withInit.Spec.InitContainers = []corev1.Container{{Resources: requests("500m", "1")}}
	gpu := podOf(corev1.ResourceRequirements{Requests: corev1.ResourceList{"example.com/gpu": resource.MustParse("2")}})
	claim := func(size string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new("gold"),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse(size)}},
		}}
	}
	for name, tc := range map[string]struct {
		resource, group, subresource string
		operation                    admissionv1.Operation
		object, old                  any
		want                         amounts
	}{
		"Pod": {resource: "pods", operation: admissionv1.Create, object: two, want: amounts{
			"count/pods": 1, "pods": 1, "cpu": 300, "requests.cpu": 300, "limits.cpu": 1000, "memory": 1<<30 + 1_000_000, "requests.memory": 1<<30 + 1_000_000,
		}},
		"Ended": {resource: "pods", operation: admissionv1.Create, object: ended, want: amounts{"count/pods": 1}},
		"Init": {resource: "pods", operation: admissionv1.Create, object: withInit, want: amounts{
			"count/pods": 1, "pods": 1, "cpu": 500, "requests.cpu": 500, "memory": 1 << 20, "requests.memory": 1 << 20,
		}},
		"Extended": {resource: "pods", operation: admissionv1.Create, object: gpu, want: amounts{"count/pods": 1, "pods": 1, "requests.example.com/gpu": 2}},
		"Resize": {
			resource: "pods", subresource: "resize", operation: admissionv1.Update, object: podOf(requests("300m", "1Mi")), old: podOf(requests("100m", "2Mi")),
			want: amounts{"cpu": 200, "requests.cpu": 200},
		},
		"Service": {resource: "services", operation: admissionv1.Create, object: &corev1.Service{Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 1}, {Port: 2}},
		}}, want: amounts{"count/services": 1, "services": 1, "services.loadbalancers": 1, "services.nodeports": 2}},
		"ServiceType": {
			resource: "services", operation: admissionv1.Update, old: &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}},
			object: &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 1}}}},
			want:   amounts{"services.nodeports": 1},
		},
		"Claim": {resource: "persistentvolumeclaims", operation: admissionv1.Create, object: claim("1Gi"), want: amounts{
			"count/persistentvolumeclaims": 1, "persistentvolumeclaims": 1, "requests.storage": 1 << 30,
			"gold.storageclass.storage.k8s.io/persistentvolumeclaims": 1, "gold.storageclass.storage.k8s.io/requests.storage": 1 << 30,
		}},
		"Expansion": {resource: "persistentvolumeclaims", operation: admissionv1.Update, object: claim("3Gi"), old: claim("1Gi"), want: amounts{
			"requests.storage": 2 << 30, "gold.storageclass.storage.k8s.io/requests.storage": 2 << 30,
		}},
		"ConfigMap":  {resource: "configmaps", operation: admissionv1.Create, object: &corev1.ConfigMap{}, want: amounts{"count/configmaps": 1, "configmaps": 1}},
		"Deployment": {resource: "deployments", group: "apps", operation: admissionv1.Create, object: metav1.ObjectMeta{}, want: amounts{"count/deployments.apps": 1}},
		"Scale":      {resource: "deployments", group: "apps", operation: admissionv1.Update, object: metav1.ObjectMeta{}, old: metav1.ObjectMeta{}, want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := need(&admissionv1.AdmissionRequest{
				Resource: metav1.GroupVersionResource{Group: tc.group, Resource: tc.resource}, SubResource: tc.subresource, Operation: tc.operation,
				Object: raw(t, tc.object), OldObject: raw(t, tc.old),
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	bestEffort, deadline, classy := podOf(corev1.ResourceRequirements{}), podOf(requests("1", "1")), podOf(requests("1", "1"))
	deadline.Spec.ActiveDeadlineSeconds = new(int64(5))
	classy.Spec.PriorityClassName = "high"
	across := podOf(requests("1", "1"))
	across.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{PodAffinityTerm: corev1.PodAffinityTerm{Namespaces: []string{"x"}}}},
	}}
	scopes := func(scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Scopes: scopes}}
	}
	selector := func(operator corev1.ScopeSelectorOperator, values ...string) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{
			{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: operator, Values: values},
		}}}}
	}
	for name, tc := range map[string]struct {
		quota *corev1.ResourceQuota
		pod   *corev1.Pod
		want  bool
	}{
		"None":            {scopes(), bestEffort, true},
		"NoPod":           {scopes(), nil, true},
		"NoPodWithScope":  {scopes("BestEffort"), nil, false},
		"BestEffort":      {scopes("BestEffort", "NotTerminating"), bestEffort, true},
		"NotBestEffort":   {scopes("NotBestEffort"), bestEffort, false},
		"Terminating":     {scopes("Terminating"), deadline, true},
		"NotTerminating":  {scopes("NotTerminating"), deadline, false},
		"Across":          {scopes("CrossNamespacePodAffinity"), across, true},
		"NotAcross":       {scopes("CrossNamespacePodAffinity"), deadline, false},
		"ClassExists":     {selector("Exists"), classy, true},
		"ClassIn":         {selector("In", "high", "low"), classy, true},
		"ClassNotIn":      {selector("NotIn", "high"), classy, false},
		"NoClassNotIn":    {selector("NotIn", "high"), deadline, true},
		"NoClass":         {selector("DoesNotExist"), deadline, true},
		"UnknownOperator": {selector("Near", "high"), classy, false},
	} {
		if got := matches(tc.quota, tc.pod); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestRules(t *testing.T) {
	quota := tenancyv1alpha1.AccountQuota{}
	quota.Spec.Quota.Hard = map[corev1.ResourceName]resource.Quantity{
		"limits.memory": {}, "count/secrets": {}, "secrets": {}, "count/jobs.batch": {}, "requests.storage": {}, "services.nodeports": {}, "count/services": {}, "configmaps": {},
	}
	var got []string
	for _, rule := range rulesOf([]tenancyv1alpha1.AccountQuota{quota}) {
		got = append(got, rule.APIGroups[0]+"/"+rule.Resources[0])
	}
	want := []string{"/configmaps", "/persistentvolumeclaims", "/pods", "/pods/resize", "/services", "batch/jobs"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
