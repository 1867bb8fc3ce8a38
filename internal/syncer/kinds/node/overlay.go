package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// record says what of a mirror came from the host when it was last written. Without it, a label that the host has taken away
// would look like one of the tenant's. Field managers cannot say it: the taints of a Node are one field.
type record struct {
	Labels        []string              `json:"labels,omitempty"`
	Taints        []string              `json:"taints,omitempty"` // key:effect
	Resources     []corev1.ResourceName `json:"resources,omitempty"`
	Unschedulable bool                  `json:"unschedulable,omitempty"`
}

// recordOf reads a mirror's record. One that is missing or spoilt, which only the tenant itself can do, is empty: then what the
// host has taken away stays, on the Node of this tenant.
func recordOf(virtualNode *corev1.Node) record {
	var was record
	if json.Unmarshal([]byte(virtualNode.Annotations[mapping.AnnotationMirrored]), &was) != nil {
		return record{}
	}
	return was
}

// newRecord is the record of a mirror that is being written. A resource that the host has no longer stays in it until it is out
// of the status, which is written later.
func newRecord(want, virtualNode *corev1.Node, was record) record {
	is := record{Labels: sets.List(sets.KeySet(want.Labels)), Unschedulable: want.Spec.Unschedulable}
	for _, taint := range want.Spec.Taints {
		is.Taints = append(is.Taints, taintID(taint))
	}
	resources := sets.KeySet(want.Status.Capacity)
	for _, name := range was.Resources {
		if _, isThere := virtualNode.Status.Capacity[name]; isThere {
			resources.Insert(name)
		}
	}
	is.Resources = sets.List(resources)
	return is
}

func setRecord(virtualNode *corev1.Node, is record) {
	content, err := json.Marshal(is)
	if err != nil {
		return // strings and a bool: it does not happen
	}
	if virtualNode.Annotations == nil {
		virtualNode.Annotations = map[string]string{}
	}
	virtualNode.Annotations[mapping.AnnotationMirrored] = string(content)
}

// withOverlay is a mirror with what the tenant has put on its Node: labels, taints and extended resources that are not the
// host's, now or by the record, and a cordon. It is pure.
func withOverlay(want, virtualNode *corev1.Node, was record) *corev1.Node {
	both := want.DeepCopy()
	for key, value := range virtualNode.Labels {
		if _, isHosts := want.Labels[key]; !isHosts && !slices.Contains(was.Labels, key) {
			both.Labels[key] = value
		}
	}
	for _, taint := range virtualNode.Spec.Taints {
		if !isNodeState(taint) && !slices.Contains(was.Taints, taintID(taint)) && !hasTaint(want, taint) {
			both.Spec.Taints = append(both.Spec.Taints, taint)
		}
	}
	both.Spec.Unschedulable = want.Spec.Unschedulable || virtualNode.Spec.Unschedulable && !was.Unschedulable
	for name, quantity := range virtualNode.Status.Capacity {
		if _, isHosts := want.Status.Capacity[name]; isHosts || slices.Contains(was.Resources, name) || !isExtended(name) {
			continue
		}
		// As a kubelet does with resources that somebody writes into its Node's capacity.
		set(&both.Status.Capacity, name, quantity)
		set(&both.Status.Allocatable, name, quantity)
	}
	return both
}

func set(list *corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = quantity
}

// OverlaidResources are the extended resources that a tenant with its own scheduler has given a node which are none of the
// host's: host pods must not ask for them.
func OverlaidResources(ctx context.Context, scope *engine.Scope, name string) ([]corev1.ResourceName, error) {
	virtualNode, err := get(ctx, scope.VirtualCache, name)
	if err != nil {
		return nil, fmt.Errorf("get node %q: %w", name, err)
	}
	hostNode, err := get(ctx, scope.HostCache, name)
	if err != nil {
		return nil, fmt.Errorf("get host node %q: %w", name, err)
	}
	if virtualNode == nil || hostNode == nil {
		return nil, nil
	}
	var overlaid []corev1.ResourceName
	was := recordOf(virtualNode)
	for name := range virtualNode.Status.Capacity {
		if _, isHosts := hostNode.Status.Capacity[name]; !isHosts && isExtended(name) && !slices.Contains(was.Resources, name) {
			overlaid = append(overlaid, name)
		}
	}
	return overlaid, nil
}

func taintID(taint corev1.Taint) string { return taint.Key + ":" + string(taint.Effect) }

func hasTaint(node *corev1.Node, taint corev1.Taint) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(has corev1.Taint) bool { return has.MatchTaint(&taint) })
}

// isNodeState tells whether a taint says in which state a node is. Only the host knows that; admission in the tenant puts one on
// every new Node.
func isNodeState(taint corev1.Taint) bool {
	domain, _, _ := strings.Cut(taint.Key, "/")
	return domain == "node.kubernetes.io" || domain == "node.cloudprovider.kubernetes.io"
}

// isExtended tells whether a resource is of a kind that the kubelet does not know by itself.
func isExtended(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// withoutOthers is a mirror whose allocatable resources are what others leave. It is pure.
func withoutOthers(want *corev1.Node, others corev1.ResourceList) *corev1.Node {
	left := want.DeepCopy()
	for name, quantity := range left.Status.Allocatable {
		used, ok := others[name]
		if !ok {
			continue
		}
		quantity = quantity.DeepCopy()
		quantity.Sub(used)
		if quantity.Sign() < 0 {
			quantity.Set(0)
		}
		left.Status.Allocatable[name] = quantity
	}
	return left
}
