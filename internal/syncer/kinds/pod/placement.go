package pod

import (
	"slices"
	"sort"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/rules"
)

// placement limits the nodes on which the host's scheduler may put the pod. A node that the tenant has chosen becomes an
// affinity: with spec.nodeName the pod would go past the scheduler, its taints and the tenant's node selector.
func (t translation) placement(spec *corev1.PodSpec) {
	var expressions, fields []corev1.NodeSelectorRequirement
	if spec.NodeName != "" {
		fields = append(fields, corev1.NodeSelectorRequirement{
			Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{spec.NodeName},
		})
		spec.NodeName = ""
	}
	for _, label := range sortedKeys(t.nodeSelector) {
		expressions = append(expressions, corev1.NodeSelectorRequirement{
			Key: label, Operator: corev1.NodeSelectorOpIn, Values: []string{t.nodeSelector[label]},
		})
	}
	if len(expressions)+len(fields) > 0 {
		require(spec, expressions, fields)
	}
	t.accountNodes(spec)
	spec.Tolerations = hostTolerations(spec.Tolerations, t.account)
}

// accountNodes selects the account's nodes, in the form that the host's policy for pods of the account asks for. What the tenant's
// pod asks of the same labels stays a condition: a pod that asks for other nodes gets none.
func (t translation) accountNodes(spec *corev1.PodSpec) {
	if t.account == nil {
		return
	}
	for _, label := range sortedKeys(t.account.NodeSelector) {
		wanted := t.account.NodeSelector[label]
		if asked, ok := spec.NodeSelector[label]; ok && asked != wanted {
			require(spec, []corev1.NodeSelectorRequirement{{Key: label, Operator: corev1.NodeSelectorOpIn, Values: []string{asked}}}, nil)
		}
		if spec.NodeSelector == nil {
			spec.NodeSelector = map[string]string{}
		}
		spec.NodeSelector[label] = wanted
	}
}

// placed takes out what the tenant's scheduler has settled by choosing the node. It went by labels, taints and resources that the
// tenant may have put on its Nodes itself; the host, which does not have them, could only refuse.
func (t translation) placed(spec *corev1.PodSpec) {
	spec.NodeSelector, spec.Affinity, spec.TopologySpreadConstraints = nil, nil, nil
	eachContainer(spec, func(container *corev1.Container) {
		for _, name := range t.overlaid {
			delete(container.Resources.Requests, name)
			delete(container.Resources.Limits, name)
		}
	})
}

// require adds requirements to every term, since terms are alternatives.
func require(spec *corev1.PodSpec, expressions, fields []corev1.NodeSelectorRequirement) {
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.NodeAffinity == nil {
		spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	affinity := spec.Affinity.NodeAffinity
	if affinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		affinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{}}}
	}
	terms := affinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	for index := range terms {
		// An empty term matches nothing and must stay so, but for the one made above.
		if len(terms[index].MatchExpressions)+len(terms[index].MatchFields) == 0 && len(terms) > 1 {
			continue
		}
		terms[index].MatchExpressions = append(slices.Clip(terms[index].MatchExpressions), expressions...)
		terms[index].MatchFields = append(slices.Clip(terms[index].MatchFields), fields...)
	}
}

// controlPlaneTaints keep workloads off the host's control plane; a tenant has no say in that.
var controlPlaneTaints = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}

// nodeStateTaints are what a toleration of everything may mean for a tenant: the states that a node can be in.
var nodeStateTaints = []string{
	corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable, corev1.TaintNodeMemoryPressure,
	corev1.TaintNodeDiskPressure, corev1.TaintNodeNetworkUnavailable, corev1.TaintNodePIDPressure,
}

// hostTolerations are a pod's tolerations that its host pod has: in an account what that grants, else all but those of the control
// plane's taints.
func hostTolerations(virtual []corev1.Toleration, account *rules.Rules) []corev1.Toleration {
	var host []corev1.Toleration
	for _, toleration := range virtual {
		switch {
		case account != nil:
			if account.Tolerates(toleration) {
				host = append(host, toleration)
			}
		case slices.Contains(controlPlaneTaints, toleration.Key):
		case toleration.Key == "":
			host = append(host, nodeStates(toleration)...)
		default:
			host = append(host, toleration)
		}
	}
	return host
}

func nodeStates(blanket corev1.Toleration) []corev1.Toleration {
	tolerations := make([]corev1.Toleration, 0, len(nodeStateTaints))
	for _, taint := range nodeStateTaints {
		toleration := blanket
		toleration.Key = taint
		tolerations = append(tolerations, toleration)
	}
	return tolerations
}

// affinity translates the namespaces in pod affinities and drops what the tenant's API server has merged already.
func (t translation) affinity(spec *corev1.PodSpec) {
	for index := range spec.TopologySpreadConstraints {
		spec.TopologySpreadConstraints[index].MatchLabelKeys = nil
	}
	eachTerm(spec, t.term)
}

func (t translation) term(term *corev1.PodAffinityTerm) {
	for index, namespace := range term.Namespaces {
		term.Namespaces[index] = t.hostNamespace(namespace)
	}
	if term.NamespaceSelector != nil {
		term.NamespaceSelector = t.namespaceSelector(term.NamespaceSelector)
	}
	term.MatchLabelKeys, term.MismatchLabelKeys = nil, nil
}

// namespaceSelector selects the same namespaces on the host. It always asks for this tenant's, or NotIn, DoesNotExist
// and the empty selector would select everybody's.
func (t translation) namespaceSelector(virtual *metav1.LabelSelector) *metav1.LabelSelector {
	host := &metav1.LabelSelector{MatchLabels: map[string]string{mapping.LabelUID: t.tenantUID, mapping.LabelKind: mapping.KindMapped}}
	for key, value := range virtual.MatchLabels {
		host.MatchLabels[hostNamespaceKey(key)] = value
	}
	for _, requirement := range virtual.MatchExpressions {
		requirement.Key = hostNamespaceKey(requirement.Key)
		host.MatchExpressions = append(host.MatchExpressions, requirement)
	}
	return host
}

func hostNamespaceKey(virtualKey string) string {
	if virtualKey == corev1.LabelMetadataName {
		return mapping.LabelTenantNamespace
	}
	return mapping.HostNamespaceLabel(virtualKey)
}

func sortedKeys(of map[string]string) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
