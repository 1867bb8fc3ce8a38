package networkpolicy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// dice makes policies at random out of few words, so that they often meet.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func (d dice) selector(keys, values []string) metav1.LabelSelector {
	selector := metav1.LabelSelector{}
	if d.IntN(2) == 0 {
		selector.MatchLabels = map[string]string{pick(d, keys...): pick(d, values...)}
	}
	if d.IntN(2) == 0 {
		requirement := metav1.LabelSelectorRequirement{Key: pick(d, keys...)}
		requirement.Operator = pick(d, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist)
		if requirement.Operator == metav1.LabelSelectorOpIn || requirement.Operator == metav1.LabelSelectorOpNotIn {
			requirement.Values = []string{pick(d, values...), pick(d, values...)}
		}
		selector.MatchExpressions = []metav1.LabelSelectorRequirement{requirement}
	}
	return selector
}

func (d dice) pods() metav1.LabelSelector {
	return d.selector([]string{"app", "role", "k8s-app"}, []string{"a", "b", "kube-dns"})
}

func (d dice) namespaces() metav1.LabelSelector {
	return d.selector(
		[]string{corev1.LabelMetadataName, "team", "tier", mapping.LabelUID, mapping.LabelKind},
		[]string{"web", "db", "kube-system", "blue", "red", "data", "other", systemHost, mapping.KindControl, "kube"},
	)
}

func (d dice) peer() networkingv1.NetworkPolicyPeer {
	var peer networkingv1.NetworkPolicyPeer
	if d.IntN(3) == 0 {
		peer.IPBlock = &networkingv1.IPBlock{CIDR: pick(d, "0.0.0.0/0", "10.0.0.0/8", "10.244.0.0/16", "203.0.113.0/24", "203.0.113.5/32", "169.254.0.0/16", "198.51.100.0/24", "::/0")}
		if peer.IPBlock.CIDR == "0.0.0.0/0" {
			peer.IPBlock.Except = pick(d, nil, []string{"10.0.0.0/8"}, []string{"169.254.169.254/32"}, []string{"198.51.100.0/25"})
		}
		return peer
	}
	if d.IntN(2) == 0 {
		selector := d.pods()
		peer.PodSelector = &selector
	}
	if peer.PodSelector == nil || d.IntN(2) == 0 {
		selector := d.namespaces()
		peer.NamespaceSelector = &selector
	}
	return peer
}

func (d dice) rule() rule {
	var made rule
	for range d.IntN(3) {
		made.peers = append(made.peers, d.peer())
	}
	for range d.IntN(2) {
		port := networkingv1.NetworkPolicyPort{Protocol: new(pick(d, corev1.ProtocolTCP, corev1.ProtocolUDP))}
		switch d.IntN(4) {
		case 0:
			port.Port = new(intstr.FromString("http"))
		case 1:
			port.Port = new(intstr.FromInt32(pick(d, int32(53), httpPort, 443)))
		case 2:
			port.Port, port.EndPort = new(intstr.FromInt32(50)), new(pick(d, int32(60), 90))
		}
		made.ports = append(made.ports, port)
	}
	return made
}

func (d dice) policy(number int) *networkingv1.NetworkPolicy {
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: pick(d, "web", "db", "kube-system"), Name: fmt.Sprintf("policy-%d", number),
	}}
	policy.Spec.PodSelector = d.pods()
	policy.Spec.PolicyTypes = pick(d, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		[]networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress})
	for range d.IntN(3) {
		made := d.rule()
		policy.Spec.Ingress = append(policy.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: made.peers, Ports: made.ports})
	}
	for range d.IntN(3) {
		made := d.rule()
		policy.Spec.Egress = append(policy.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: made.peers, Ports: made.ports})
	}
	return policy
}

func (d dice) pod(address string) end {
	namespace := pick(d, "web", "db", "kube-system")
	pod := end{namespace: namespace, namespaceLabels: virtualNamespaces[namespace], labels: labels.Set{}, address: netip.MustParseAddr(address), isPod: true}
	for _, key := range []string{"app", "role"} {
		if d.IntN(3) > 0 {
			pod.labels[key] = pick(d, "a", "b")
		}
	}
	return pod
}

// strangers are what no pod of the tenant may reach or be reached by, whatever its policies say.
var strangers = map[string]end{
	"a pod of another tenant": {namespace: "vc-other222-web", isPod: true, address: netip.MustParseAddr("10.244.9.9"), labels: labels.Set{"app": "a"}, namespaceLabels: labels.Set{
		mapping.LabelUID: "other", mapping.LabelKind: mapping.KindMapped, mapping.LabelTenantNamespace: "web",
		mapping.HostNamespaceLabel("team"): "blue", mapping.HostNamespaceLabel(corev1.LabelMetadataName): "web",
	}},
	"a pod of the host": {
		namespace: "kube-system", isPod: true, address: netip.MustParseAddr("10.244.9.8"), labels: labels.Set{"k8s-app": "kube-dns"},
		namespaceLabels: labels.Set{corev1.LabelMetadataName: "kube-system", "team": "blue"},
	},
	"the agent": {
		namespace: systemHost, isPod: true, address: netip.MustParseAddr("10.244.9.7"), labels: labels.Set{"app": "a"},
		namespaceLabels: labels.Set{corev1.LabelMetadataName: systemHost},
	},
	"a node":    {address: netip.MustParseAddr("203.0.113.5")},
	"metadata":  {address: netip.MustParseAddr("169.254.169.254")},
	"neighbour": {address: netip.MustParseAddr("10.9.9.9")},
}

// TestRandomPolicies: on the host the tenant's pods reach each other and the internet as they would in the tenant, and
// reach nobody else.
func TestRandomPolicies(t *testing.T) {
	f := modelFence()
	for seed := range uint64(4000) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		var virtual []*networkingv1.NetworkPolicy
		for number := range d.IntN(4) {
			virtual = append(virtual, d.policy(number))
		}
		host := hostPolicies(f, virtual)
		pod, peer := d.pod("10.244.1.1"), d.pod("10.244.1.2")
		internet := end{address: netip.MustParseAddr(pick(d, "198.51.100.7", "8.8.8.8", "203.0.113.9"))}
		hostPod := labelled(onHost(pod), pod, virtual)
		protocol, port := pick(d, corev1.ProtocolTCP, corev1.ProtocolUDP), pick(d, int32(53), httpPort, 443, 8080)
		for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			for name, ends := range map[string][2]end{"own pod": {peer, labelled(onHost(peer), peer, virtual)}, "internet": {internet, internet}} {
				want := allows(virtual, direction, pod, ends[0], protocol, port)
				got := allows(host, direction, hostPod, ends[1], protocol, port)
				if want != got {
					t.Fatalf("seed %d: %s %s %d of %s: the host says %v, the tenant %v\npod %+v\npeer %+v\n%s",
						seed, direction, protocol, port, name, got, want, pod, ends[0], dump(t, virtual, host[len(host)-len(virtual):]))
				}
			}
			for name, stranger := range strangers {
				if allows(host, direction, hostPod, stranger, protocol, port) {
					t.Fatalf("seed %d: %s %s %d: %s is let through\n%s", seed, direction, protocol, port, name, dump(t, virtual, host))
				}
			}
		}
	}
}

// TestLaggingLabels: with whatever labels, the fence lets nobody else through and does not fail open.
func TestLaggingLabels(t *testing.T) {
	f := modelFence()
	pod := dice{rand.New(rand.NewPCG(1, 1))}.pod("10.244.1.1")
	hostPod := onHost(pod)
	for _, lagging := range []labels.Set{{}, {mapping.LabelIngress: "open", mapping.LabelEgress: "open"}, {mapping.LabelIngress: "by-policy"}} {
		hostPod.labels = lagging
		for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			for name, stranger := range strangers {
				if allows(hostPolicies(f, nil), direction, hostPod, stranger, corev1.ProtocolTCP, httpPort) {
					t.Errorf("labels %v: %s is let through", lagging, name)
				}
			}
		}
	}
}

func dump(t *testing.T, lists ...[]*networkingv1.NetworkPolicy) string {
	t.Helper()
	text := ""
	for _, list := range lists {
		for _, policy := range list {
			data, err := yaml.Marshal(policy)
			if err != nil {
				t.Fatal(err)
			}
			text += "---\n" + string(data)
		}
	}
	return text
}
