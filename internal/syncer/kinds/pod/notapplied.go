package pod

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/hostcopy"
)

// tellNotApplied tells once, when the host pod is made, what of the tenant's pod it does not have.
func tellNotApplied(scope *engine.Scope, virtualPod, hostPod *corev1.Pod) {
	if wishes := notApplied(virtualPod, hostPod); len(wishes) > 0 {
		scope.Event(virtualPod, corev1.EventTypeWarning, engine.ReasonNotApplied, "the pod runs without: "+strings.Join(wishes, "; "))
	}
}

// notApplied are the wishes of a pod that its host pod does not have. It is pure.
func notApplied(virtualPod, hostPod *corev1.Pod) []string {
	var wishes []string
	virtual, host := &virtualPod.Spec, &hostPod.Spec
	if virtual.PriorityClassName != host.PriorityClassName {
		wishes = append(wishes, fmt.Sprintf("spec.priorityClassName %q, which the host does not offer", virtual.PriorityClassName))
	}
	// A pod with a node has been scheduled in the tenant, by whatever scheduler it names.
	if name := virtual.SchedulerName; virtual.NodeName == "" && name != "" && name != corev1.DefaultSchedulerName {
		wishes = append(wishes, fmt.Sprintf("spec.schedulerName %q: the host's scheduler chooses the node", name))
	}
	for _, toleration := range virtual.Tolerations {
		switch {
		case hasToleration(host, toleration):
		case toleration.Key == "":
			wishes = append(wishes, "the toleration of every taint: only some are tolerated")
		case slices.Contains(controlPlaneTaints, toleration.Key):
			wishes = append(wishes, fmt.Sprintf("the toleration of %q, which keeps tenants off the host's control plane", toleration.Key))
		default:
			wishes = append(wishes, fmt.Sprintf("the toleration of %q, which the account does not grant", toleration.Key))
		}
	}
	for _, secret := range virtual.ImagePullSecrets {
		if !slices.Contains(host.ImagePullSecrets, secret) {
			wishes = append(wishes, fmt.Sprintf("spec.imagePullSecrets %q, which does not exist; make it before the pod", secret.Name))
		}
	}
	if virtual.DNSConfig != nil && host.DNSConfig != nil {
		for _, server := range virtual.DNSConfig.Nameservers {
			if !slices.Contains(host.DNSConfig.Nameservers, server) {
				wishes = append(wishes, fmt.Sprintf("nameserver %s: a pod has %d with that of the cluster", server, maxNameservers))
			}
		}
	}
	for _, label := range strangeLabels(host) {
		wishes = append(wishes, fmt.Sprintf("affinity or spread over pods by the label %q, which stays in the virtual cluster", label))
	}
	return wishes
}

// strangeLabels are the labels by which a pod selects others and which host pods do not carry.
func strangeLabels(spec *corev1.PodSpec) []string {
	var strange []string
	look := func(selector *metav1.LabelSelector) {
		for _, label := range hostcopy.StrangeLabels(selector) {
			if !slices.Contains(strange, label) {
				strange = append(strange, label)
			}
		}
	}
	for index := range spec.TopologySpreadConstraints {
		look(spec.TopologySpreadConstraints[index].LabelSelector)
	}
	eachTerm(spec, func(term *corev1.PodAffinityTerm) { look(term.LabelSelector) })
	return strange
}

// eachTerm visits the pod affinity and anti-affinity terms.
func eachTerm(spec *corev1.PodSpec, visit func(term *corev1.PodAffinityTerm)) {
	if spec.Affinity == nil {
		return
	}
	visitAll := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for index := range required {
			visit(&required[index])
		}
		for index := range preferred {
			visit(&preferred[index].PodAffinityTerm)
		}
	}
	if affinity := spec.Affinity.PodAffinity; affinity != nil {
		visitAll(affinity.RequiredDuringSchedulingIgnoredDuringExecution, affinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if affinity := spec.Affinity.PodAntiAffinity; affinity != nil {
		visitAll(affinity.RequiredDuringSchedulingIgnoredDuringExecution, affinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}
