package networkpolicy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
)

func selector(pairs ...string) *metav1.LabelSelector {
	made := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for index := 0; index < len(pairs); index += 2 {
		made.MatchLabels[pairs[index]] = pairs[index+1]
	}
	return made
}

func own(pairs ...string) *metav1.LabelSelector {
	return selector(append(pairs, mapping.LabelUID, string(tenantUID), mapping.LabelKind, mapping.KindMapped)...)
}

func ipBlock(cidr string, except ...string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: except}}
}

func TestPeers(t *testing.T) {
	f := modelFence()
	ownPods := networkingv1.NetworkPolicyPeer{NamespaceSelector: own()}
	everything := append([]networkingv1.NetworkPolicyPeer{ownPods}, f.Internet()...)
	internet4 := f.Internet()[0]
	cases := map[string]struct {
		virtual []networkingv1.NetworkPolicyPeer
		want    []networkingv1.NetworkPolicyPeer
		refused string // part of the message
	}{
		"none": {nil, everything, ""},
		"pods": {
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "a")}},
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "a")}},
			"",
		},
		"all pods of the namespace": {
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector()}},
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector()}},
			"",
		},
		"all namespaces": {[]networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}, []networkingv1.NetworkPolicyPeer{ownPods}, ""},
		"namespaces by name and label": {
			[]networkingv1.NetworkPolicyPeer{{NamespaceSelector: selector(corev1.LabelMetadataName, "web", "team", "blue")}},
			[]networkingv1.NetworkPolicyPeer{{NamespaceSelector: own(mapping.LabelTenantNamespace, "web", mapping.HostNamespaceLabel("team"), "blue")}},
			"",
		},
		"both": {
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "a"), NamespaceSelector: selector("team", "blue")}},
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "a"), NamespaceSelector: own(mapping.HostNamespaceLabel("team"), "blue")}},
			"",
		},
		"namespaces of another tenant": {
			[]networkingv1.NetworkPolicyPeer{{NamespaceSelector: selector(mapping.LabelUID, "other")}},
			[]networkingv1.NetworkPolicyPeer{{NamespaceSelector: own(mapping.HostNamespaceLabel(mapping.LabelUID), "other")}},
			"",
		},
		"labels that stay in the tenant": {
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector("istio.io/rev", "x")}, {PodSelector: selector("app", "a")}},
			[]networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "a")}},
			"ingress[0].from[0]: the host's pods do not have the labels istio.io/rev",
		},
		"everything by address": {[]networkingv1.NetworkPolicyPeer{ipBlock("0.0.0.0/0")}, []networkingv1.NetworkPolicyPeer{ownPods, internet4}, ""},
		"the internet": {
			[]networkingv1.NetworkPolicyPeer{ipBlock("0.0.0.0/0", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")},
			[]networkingv1.NetworkPolicyPeer{internet4},
			"",
		},
		"the cluster's range": {[]networkingv1.NetworkPolicyPeer{ipBlock("10.0.0.0/8")}, []networkingv1.NetworkPolicyPeer{ownPods}, ""},
		"a public address":    {[]networkingv1.NetworkPolicyPeer{ipBlock("198.51.100.7/32")}, []networkingv1.NetworkPolicyPeer{ipBlock("198.51.100.7/32")}, ""},
		"one pod":             {[]networkingv1.NetworkPolicyPeer{ipBlock("10.244.1.7/32")}, nil, "ingress[0].from[0]: 10.244.1.7/32 is inside"},
		"a node":              {[]networkingv1.NetworkPolicyPeer{ipBlock("203.0.113.5/32")}, nil, "203.0.113.5/32 is inside"},
		"no block":            {[]networkingv1.NetworkPolicyPeer{ipBlock("300.0.0.0/8")}, nil, "is not an IP block"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			translation := translation{fence: f, namespace: "web"}
			got, _ := translation.peers("ingress[0].from", test.virtual)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
			if told := strings.Join(translation.refused, "; "); (told == "") != (test.refused == "") || !strings.Contains(told, test.refused) {
				t.Errorf("refused: %q, want %q", told, test.refused)
			}
		})
	}
}

func TestExpressionsKeepTheirMeaning(t *testing.T) {
	virtual := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"blue"}},
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpExists},
	}}
	want := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: mapping.HostNamespaceLabel("team"), Operator: metav1.LabelSelectorOpNotIn, Values: []string{"blue"}},
		{Key: mapping.LabelTenantNamespace, Operator: metav1.LabelSelectorOpExists},
	}}
	if diff := cmp.Diff(want, hostNamespaces(virtual)); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
}

func TestTranslateKeepsPortsAndDropsEmptyRules(t *testing.T) {
	f := modelFence()
	virtualPorts := []networkingv1.NetworkPolicyPort{
		{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromString("http"))},
		{Protocol: new(corev1.ProtocolSCTP), Port: new(intstr.FromInt32(1000)), EndPort: new(int32(2000))},
		{Protocol: new(corev1.ProtocolUDP)},
	}
	virtual := networkingv1.NetworkPolicySpec{
		PodSelector: *selector("app", "a"),
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{
			{From: []networkingv1.NetworkPolicyPeer{ipBlock("203.0.113.5/32")}},
			{From: []networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "b")}}, Ports: virtualPorts},
		},
		Egress: []networkingv1.NetworkPolicyEgressRule{{}}, // means nothing without its type
	}
	translation := translation{fence: f, namespace: "web"}
	want := networkingv1.NetworkPolicySpec{
		PodSelector: *selector("app", "a"),
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{
			{From: []networkingv1.NetworkPolicyPeer{{PodSelector: selector("app", "b")}}, Ports: virtualPorts},
			f.FromControlPlane(),
		},
	}
	if diff := cmp.Diff(want, translation.translate(virtual)); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func TestIngressControllersComeWithEverything(t *testing.T) {
	translation := translation{fence: modelFence(), namespace: "web"}
	rules := translation.ingress([]networkingv1.NetworkPolicyIngressRule{
		{},
		{From: []networkingv1.NetworkPolicyPeer{ipBlock("0.0.0.0/0")}},
		{From: []networkingv1.NetworkPolicyPeer{ipBlock("198.51.100.0/24")}},
		{From: []networkingv1.NetworkPolicyPeer{{PodSelector: selector()}}},
	})
	for index, want := range []bool{true, true, false, false} {
		has := slices.ContainsFunc(rules[index].From, func(peer networkingv1.NetworkPolicyPeer) bool { return cmp.Equal(peer, fence.IngressControllers()) })
		if has != want {
			t.Errorf("rule %d lets ingress controllers in: %v, want %v", index, has, want)
		}
	}
}

func TestDNS(t *testing.T) {
	port := func(protocol corev1.Protocol, port intstr.IntOrString) []networkingv1.NetworkPolicyPort {
		return []networkingv1.NetworkPolicyPort{{Protocol: &protocol, Port: &port}}
	}
	system := selector(corev1.LabelMetadataName, "kube-system")
	both := []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP}
	cases := map[string]struct {
		namespace string
		rule      networkingv1.NetworkPolicyEgressRule
		want      []corev1.Protocol
	}{
		"everything":          {"web", networkingv1.NetworkPolicyEgressRule{}, both},
		"everywhere, by UDP":  {"web", networkingv1.NetworkPolicyEgressRule{Ports: port(corev1.ProtocolUDP, intstr.FromInt32(53))}, []corev1.Protocol{corev1.ProtocolUDP}},
		"everywhere, by name": {"web", networkingv1.NetworkPolicyEgressRule{Ports: port(corev1.ProtocolTCP, intstr.FromString("dns-tcp"))}, []corev1.Protocol{corev1.ProtocolTCP}},
		"everywhere, a range": {"web", networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(1)), EndPort: new(int32(100))}}}, []corev1.Protocol{corev1.ProtocolTCP}},
		"another port":        {"web", networkingv1.NetworkPolicyEgressRule{Ports: port(corev1.ProtocolUDP, intstr.FromInt32(443))}, nil},
		"its namespace":       {"web", networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: system}}}, both},
		"its pods": {"web", networkingv1.NetworkPolicyEgressRule{
			To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: system, PodSelector: selector("k8s-app", "kube-dns")}},
		}, both},
		"other pods": {"web", networkingv1.NetworkPolicyEgressRule{
			To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: system, PodSelector: selector("k8s-app", "metrics")}},
		}, nil},
		"another namespace":        {"web", networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: selector("team", "red")}}}, nil},
		"pods of the own":          {"web", networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{PodSelector: selector()}}}, nil},
		"pods of its own":          {"kube-system", networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{PodSelector: selector()}}}, both},
		"all addresses":            {"web", networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{ipBlock("0.0.0.0/0")}}, both},
		"addresses of the outside": {"web", networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{ipBlock("198.51.100.0/24")}}, nil},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			translation := translation{fence: modelFence(), namespace: test.namespace, dnsLabels: virtualNamespaces["kube-system"]}
			var got []corev1.Protocol
			for _, rule := range translation.egress([]networkingv1.NetworkPolicyEgressRule{test.rule}) {
				if cmp.Equal(rule.To, translation.fence.ToDNS().To) {
					for _, port := range rule.Ports {
						if !slices.Contains(got, *port.Protocol) {
							got = append(got, *port.Protocol)
						}
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("DNS is let through by (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPodLabels(t *testing.T) {
	policy := func(app string, types ...networkingv1.PolicyType) networkingv1.NetworkPolicy {
		return networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{PodSelector: *selector("app", app), PolicyTypes: types}}
	}
	policies := []networkingv1.NetworkPolicy{policy("a", networkingv1.PolicyTypeIngress), policy("b", networkingv1.PolicyTypeEgress), policy("a", networkingv1.PolicyTypeIngress)}
	for app, want := range map[string]map[string]string{
		"a": {mapping.LabelIngress: fence.ByPolicy, mapping.LabelEgress: fence.Open},
		"b": {mapping.LabelIngress: fence.Open, mapping.LabelEgress: fence.ByPolicy},
		"c": {mapping.LabelIngress: fence.Open, mapping.LabelEgress: fence.Open},
	} {
		got := podLabels(policies, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("labels of %s (-want +got):\n%s", app, diff)
		}
	}
}
