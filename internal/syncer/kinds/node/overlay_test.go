package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

func list(pairs ...string) corev1.ResourceList {
	made := corev1.ResourceList{}
	for index := 0; index < len(pairs); index += 2 {
		made[corev1.ResourceName(pairs[index])] = resource.MustParse(pairs[index+1])
	}
	return made
}

func hostNode(change func(*corev1.Node)) *corev1.Node {
	made := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Capacity:    list("cpu", "4", "pods", "110", "example.com/gpu", "2"),
			Allocatable: list("cpu", "3", "pods", "110", "example.com/gpu", "2"),
		},
	}
	if change != nil {
		change(made)
	}
	return made
}

// written is what the mirror of a host node becomes, given what the tenant has of it.
func written(host, virtualNode *corev1.Node) *corev1.Node {
	want, was := mirrorOf(host), recordOf(virtualNode)
	is := withOverlay(want, virtualNode, was)
	is.Annotations = virtualNode.Annotations
	setRecord(is, newRecord(want, virtualNode, was))
	return is
}

func TestOverlay(t *testing.T) {
	taint := func(key string) corev1.Taint { return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule} }
	for name, tc := range map[string]struct {
		host   func(*corev1.Node) // changes the host's node, after the tenant has its mirror
		tenant func(*corev1.Node) // changes the tenant's
		want   func(*corev1.Node) // changes the first mirror
	}{
		"Nothing": {},
		"LabelsTaintsAndResourcesOfTheTenantStay": {
			tenant: func(n *corev1.Node) {
				n.Labels["mine"], n.Labels["istio.io/x"] = "yes", "y"
				n.Spec.Taints, n.Spec.Unschedulable = append(n.Spec.Taints, taint("mine")), true
				n.Status.Capacity["example.com/foo"] = resource.MustParse("5")
			},
			want: func(n *corev1.Node) {
				n.Labels["mine"], n.Labels["istio.io/x"] = "yes", "y"
				n.Spec.Taints, n.Spec.Unschedulable = append(n.Spec.Taints, taint("mine")), true
				n.Status.Capacity["example.com/foo"], n.Status.Allocatable["example.com/foo"] = resource.MustParse("5"), resource.MustParse("5")
			},
		},
		"WhatIsTheHostsIsPutBack": {
			tenant: func(n *corev1.Node) {
				n.Labels["zone"], n.Spec.Taints = "b", nil
				n.Status.Capacity, n.Status.Allocatable = list("cpu", "400"), list("cpu", "400")
			},
		},
		"NativeResourcesAndNodeStatesCannotBeAdded": {
			tenant: func(n *corev1.Node) {
				n.Status.Capacity["hugepages-2Mi"], n.Status.Capacity["kubernetes.io/x"] = resource.MustParse("1Gi"), resource.MustParse("1")
				n.Spec.Taints = append(n.Spec.Taints, taint(corev1.TaintNodeNotReady))
			},
		},
		"WhatTheHostTakesAwayGoes": {
			host: func(n *corev1.Node) {
				n.Labels, n.Spec.Taints = nil, nil
				delete(n.Status.Capacity, "example.com/gpu")
				delete(n.Status.Allocatable, "example.com/gpu")
			},
			want: func(n *corev1.Node) {
				delete(n.Labels, "zone")
				n.Spec.Taints = nil
				delete(n.Status.Capacity, "example.com/gpu")
				delete(n.Status.Allocatable, "example.com/gpu")
			},
		},
		"TheHostWins": {
			host:   func(n *corev1.Node) { n.Labels["mine"] = "host" },
			tenant: func(n *corev1.Node) { n.Labels["mine"] = "tenant" },
			want:   func(n *corev1.Node) { n.Labels["mine"] = "host" },
		},
		"ASpoiltRecordHarmsNobodyElse": {
			host:   func(n *corev1.Node) { n.Labels = nil },
			tenant: func(n *corev1.Node) { n.Annotations[mapping.AnnotationMirrored] = "{" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			host := hostNode(nil)
			mirror := written(host, mirrorOf(host))
			want, mine := mirror.DeepCopy(), mirror.DeepCopy()
			for change, node := range map[*func(*corev1.Node)]*corev1.Node{&tc.host: host, &tc.tenant: mine, &tc.want: want} {
				if *change != nil {
					(*change)(node)
				}
			}
			got := written(host, mine)
			for range 2 { // whatever comes of it stays so
				if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
					t.Errorf("labels (-want +got):\n%s", diff)
				}
				if !equality.Semantic.DeepEqual(want.Spec, got.Spec) || !equality.Semantic.DeepEqual(want.Status, got.Status) {
					t.Errorf("got %+v\n%+v\nwant %+v\n%+v", got.Spec, got.Status, want.Spec, want.Status)
				}
				got = written(host, got)
			}
		})
	}
}

// Between the two writes of a mirror the agent may end. A resource that the host has taken away is then still in the status, and
// must not become the tenant's.
func TestResourceOfTheHostIsNotInheritedAfterACrash(t *testing.T) {
	host := hostNode(nil)
	mirror := written(host, mirrorOf(host))
	delete(host.Status.Capacity, "example.com/gpu")
	halfway := mirror.DeepCopy()
	halfway.Annotations = written(host, mirror.DeepCopy()).Annotations // the metadata is written, the status is not
	if got := written(host, halfway); got.Status.Capacity.Name("example.com/gpu", resource.DecimalSI).Value() != 0 {
		t.Errorf("the tenant has kept %v", got.Status.Capacity)
	}
}

func TestWithoutOthers(t *testing.T) {
	got := withoutOthers(mirrorOf(hostNode(nil)), list("cpu", "2500m", "pods", "111", "memory", "1Gi")).Status
	if want := list("cpu", "500m", "pods", "0", "example.com/gpu", "2"); !equality.Semantic.DeepEqual(want, got.Allocatable) {
		t.Errorf("allocatable is %v, want %v", got.Allocatable, want)
	}
	if want := hostNode(nil).Status.Capacity; !equality.Semantic.DeepEqual(want, got.Capacity) {
		t.Errorf("capacity is %v, want %v", got.Capacity, want)
	}
}
