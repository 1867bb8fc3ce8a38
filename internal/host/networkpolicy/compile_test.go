package networkpolicy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

var (
	webAddress    = netip.MustParseAddr("10.244.0.2")
	clientAddress = netip.MustParseAddr("10.244.0.3")
	otherAddress  = netip.MustParseAddr("10.244.0.4")
)

// testState has a server with named ports and a client in namespace a, and a client in namespace b.
func testState(t *testing.T, policies ...string) State {
	t.Helper()
	state := State{
		Namespaces: map[string]map[string]string{"a": {"team": "one"}, "b": {"team": "two"}},
		Pods: []Pod{
			{Namespace: "a", Labels: map[string]string{"app": "web"}, Address: webAddress, Ports: []NamedPort{
				{Name: "http", Protocol: corev1.ProtocolTCP, Port: 8080}, {Name: "http", Protocol: corev1.ProtocolUDP, Port: 8081},
			}},
			{Namespace: "a", Labels: map[string]string{"app": "client"}, Address: clientAddress},
			{Namespace: "b", Labels: map[string]string{"app": "client"}, Address: otherAddress},
		},
	}
	for i, text := range policies {
		policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "policy" + string(rune('0'+i))}}
		if err := yaml.UnmarshalStrict([]byte(text), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		state.Policies = append(state.Policies, policy)
	}
	return state
}

// judged are the rules that a pod's packets meet, with the names of sets replaced by their elements.
func judged(t *testing.T, rules Ruleset, pods map[netip.Addr]string, address netip.Addr) []string {
	t.Helper()
	chains := map[string][]string{}
	for _, chain := range rules.Chains {
		chains[chain.Name] = chain.Rules
	}
	name, found := pods[address]
	if !found {
		return nil
	}
	var met []string
	for _, rule := range chains[name] {
		if policy, isJump := strings.CutPrefix(rule, "jump "); isJump {
			met = append(met, chains[policy]...)
		} else {
			met = append(met, rule)
		}
	}
	for i := range met {
		for _, set := range rules.Sets {
			var elements []string
			for _, element := range set.Elements {
				elements = append(elements, strings.Join(element, " . "))
			}
			met[i] = strings.ReplaceAll(met[i], "@"+set.Name, "{"+strings.Join(elements, ", ")+"}")
		}
	}
	return met
}

func TestCompile(t *testing.T) {
	cases := map[string]struct {
		policies        []string
		address         netip.Addr
		ingress, egress []string
	}{
		"a pod that no policy selects is free": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress]}`},
			address:  clientAddress,
		},
		"a policy without rules closes both ways": {
			policies: []string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`},
			address:  webAddress,
			ingress:  []string{refusal}, egress: []string{refusal},
		},
		"a policy holds in its own namespace only": {
			policies: []string{`{podSelector: {}, policyTypes: [Ingress]}`},
			address:  otherAddress,
		},
		"an empty rule allows everything": {
			policies: []string{`{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}`},
			address:  webAddress,
			ingress:  []string{"accept", refusal},
		},
		"a pod selector means the policy's namespace": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}`},
			address:  webAddress,
			ingress:  []string{"ip saddr {10.244.0.3} accept", refusal},
		},
		"selectors of pod and namespace must both match": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}, namespaceSelector: {matchLabels: {team: two}}}]}]}`},
			address:  webAddress,
			ingress:  []string{"ip saddr {10.244.0.4} accept", refusal},
		},
		"peers are alternatives": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}}, {namespaceSelector: {matchLabels: {team: two}}}]}]}`},
			address:  webAddress,
			ingress:  []string{"ip saddr {10.244.0.3, 10.244.0.4} accept", refusal},
		},
		"a selector that matches no pod allows nothing": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}`},
			address:  webAddress,
			ingress:  []string{refusal},
		},
		"a range with exceptions": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 192.168.0.0/16]}}, {ipBlock: {cidr: 10.9.0.0/16}}, {ipBlock: {cidr: "::/0"}}]}]}`},
			address:  webAddress,
			egress:   []string{"ip daddr != {10.0.0.0/8, 192.168.0.0/16} accept", "ip daddr 10.9.0.0/16 accept", refusal},
		},
		"ranges are one set, without those that lie in another": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}, {ipBlock: {cidr: 10.9.8.7/8}}, {ipBlock: {cidr: 10.1.0.0/16}}, {ipBlock: {cidr: 10.2.0.0/16, except: [10.2.1.0/24, 10.2.1.0/25]}}]}]}`},
			address:  webAddress,
			ingress:  []string{"ip saddr 10.2.0.0/16 ip saddr != 10.2.1.0/24 accept", "ip saddr {10.0.0.0/8, 192.0.2.0/24} accept", refusal},
		},
		"every address among the ranges is every address": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}, {ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 80}]}]}`},
			address:  webAddress,
			ingress:  []string{"tcp dport 80 accept", refusal},
		},
		"only ranges of IPv6 match nothing": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: "::/0"}}]}]}`},
			address:  webAddress,
			ingress:  []string{refusal},
		},
		"ports of a protocol are one set, and a port without a number is all of them": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{ports: [{port: 90}, {port: 80, endPort: 85}, {port: 84, endPort: 89}, {port: 443}, {port: 53, protocol: UDP}, {protocol: UDP}]}]}`},
			address:  webAddress,
			ingress:  []string{"tcp dport {443, 80-90} accept", "meta l4proto udp accept", refusal},
		},
		"a named port of a range is that of any pod in it": {
			policies: []string{`{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.244.0.0/30}}], ports: [{port: http}]}]}`},
			address:  clientAddress,
			egress:   []string{"ip daddr 10.244.0.0/30 ip daddr . meta l4proto . th dport {10.244.0.2 . tcp . 8080} accept", refusal},
		},
		"every peer with every port": {
			policies: []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: client}}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80}, {protocol: UDP, port: 1000, endPort: 2000}, {protocol: SCTP}]}]}`},
			address:  webAddress,
			ingress: []string{
				"ip saddr 192.0.2.0/24 meta l4proto sctp accept", "ip saddr 192.0.2.0/24 tcp dport 80 accept", "ip saddr 192.0.2.0/24 udp dport 1000-2000 accept",
				"ip saddr {10.244.0.3} meta l4proto sctp accept", "ip saddr {10.244.0.3} tcp dport 80 accept", "ip saddr {10.244.0.3} udp dport 1000-2000 accept",
				refusal,
			},
		},
		"a named port on the way in is the selected pod's": {
			policies: []string{`{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: http}]}]}`},
			address:  webAddress,
			ingress:  []string{"ip daddr . meta l4proto . th dport {10.244.0.2 . tcp . 8080} accept", refusal},
		},
		"a named port on the way out is the peer's": {
			policies: []string{`{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http, protocol: UDP}, {port: none}]}]}`},
			address:  clientAddress,
			egress:   []string{"ip daddr {10.244.0.2} ip daddr . meta l4proto . th dport {10.244.0.2 . udp . 8081} accept", refusal},
		},
		"policies add up": {
			policies: []string{
				`{podSelector: {}, policyTypes: [Ingress]}`,
				`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}`,
			},
			address: webAddress,
			ingress: []string{"tcp dport 80 accept", refusal},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rules := Compile(testState(t, c.policies...))
			if diff := cmp.Diff(c.ingress, judged(t, rules, rules.Ingress, c.address)); diff != "" {
				t.Errorf("on the way in (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.egress, judged(t, rules, rules.Egress, c.address)); diff != "" {
				t.Errorf("on the way out (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompileIgnoresOrder(t *testing.T) {
	policies := []string{
		`{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{namespaceSelector: {}}], ports: [{port: http}]}], egress: [{to: [{namespaceSelector: {}}]}]}`,
		`{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}`,
	}
	state, turned := testState(t, policies...), testState(t, policies...)
	turned.Pods[0], turned.Pods[2] = turned.Pods[2], turned.Pods[0]
	turned.Policies[0], turned.Policies[1] = turned.Policies[1], turned.Policies[0]
	if diff := cmp.Diff(Compile(state), Compile(turned), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("another order gives other rules:\n%s", diff)
	}
}

func TestPodsThatPoliciesDoNotSee(t *testing.T) {
	running := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.0.9"}}
	if _, ok := podAt(&running, reportedAddress(&running)); !ok {
		t.Error("a running pod is not seen")
	}
	for name, change := range map[string]func(*corev1.Pod){
		"in the node's network": func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"ended":                 func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"failed":                func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		"without an address":    func(p *corev1.Pod) { p.Status.PodIP = "" },
		"with IPv6":             func(p *corev1.Pod) { p.Status.PodIP = "fd00::1" },
	} {
		pod := running.DeepCopy()
		change(pod)
		if _, ok := podAt(pod, reportedAddress(pod)); ok {
			t.Errorf("a pod %s is seen", name)
		}
	}
}

func TestEndPortBelowPortIsIgnored(t *testing.T) {
	port, end := intstr.FromInt32(80), int32(79)
	got := numberedPorts(networkingv1.NetworkPolicyPort{Port: &port, EndPort: &end})
	if got != (portRange{80, 80}) {
		t.Errorf("ports %s", got)
	}
}

// A tenant may write policies as large as the API takes. The rules must not be as many as its peers times its ports.
func TestRulesGrowWithThePolicyOnly(t *testing.T) {
	const many = 2000
	var rule networkingv1.NetworkPolicyIngressRule
	for i := range many {
		block := &networkingv1.IPBlock{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 7), byte(i << 1)}), 32).String()}
		rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{IPBlock: block})
		port := intstr.FromInt32(int32(2*i + 1))
		rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Port: &port})
	}
	state := testState(t, `{podSelector: {}, policyTypes: [Ingress]}`)
	state.Policies[0].Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{rule}
	rules := Compile(state)
	count := 0
	for _, chain := range rules.Chains {
		count += len(chain.Rules)
	}
	for _, set := range rules.Sets {
		count += len(set.Elements)
	}
	if count > 2*many+10 {
		t.Errorf("%d rules and elements for %d peers and %d ports", count, many, many)
	}
}
