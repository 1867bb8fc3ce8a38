package pod

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// TestPodOfAnAccount: a host pod is what the host's policies for pods of the account let through, and asks for no more nodes than
// the tenant's pod does.
func TestPodOfAnAccount(t *testing.T) {
	account := &rules.Rules{
		Account: "team", NodeSelector: map[string]string{"pool": "shared", "zone": "a"},
		Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}},
	}
	virtualPod := testPod(func(s *corev1.PodSpec) {
		s.NodeSelector = map[string]string{"pool": "other", "disk": "ssd"}
		s.Tolerations = []corev1.Toleration{
			{Operator: corev1.TolerationOpExists},
			{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
			{Key: "secret", Operator: corev1.TolerationOpExists},
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
			{Key: corev1.TaintNodeDiskPressure, Operator: corev1.TolerationOpExists},
		}
	})
	before := virtualPod.DeepCopy()
	with := testTranslation()
	with.account, with.priorityClass = account, "tenants"
	hostPod, _ := translate(virtualPod, with)

	if diff := cmp.Diff(map[string]string{"pool": "shared", "zone": "a", "disk": "ssd"}, hostPod.Spec.NodeSelector); diff != "" {
		t.Errorf("node selector (-want +got):\n%s", diff)
	}
	term := hostPod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0]
	wish := corev1.NodeSelectorRequirement{Key: "pool", Operator: corev1.NodeSelectorOpIn, Values: []string{"other"}}
	if len(term.MatchExpressions) == 0 || !cmp.Equal(term.MatchExpressions[len(term.MatchExpressions)-1], wish) {
		t.Errorf("the tenant's own wish is lost: %+v", term)
	}
	if diff := cmp.Diff([]corev1.Toleration{virtualPod.Spec.Tolerations[1], virtualPod.Spec.Tolerations[3]}, hostPod.Spec.Tolerations); diff != "" {
		t.Errorf("tolerations (-want +got):\n%s", diff)
	}
	if hostPod.Spec.PriorityClassName != "tenants" {
		t.Errorf("priority class %q", hostPod.Spec.PriorityClassName)
	}
	told := strings.Join(notApplied(virtualPod, hostPod), "; ")
	for _, want := range []string{"every taint", `"secret"`, `"node.kubernetes.io/disk-pressure"`} {
		if !strings.Contains(told, want) {
			t.Errorf("the tenant is not told of %s: %s", want, told)
		}
	}
	if strings.Contains(told, "gpu") || strings.Contains(told, "not-ready") {
		t.Errorf("the tenant is told of what was granted: %s", told)
	}
	if !isCarried(virtualPod, hostPod, account) {
		t.Error("what the account does not grant counts as still to be done")
	}
	if diff := cmp.Diff(before, virtualPod); diff != "" {
		t.Errorf("the tenant's pod was changed:\n%s", diff)
	}
}
