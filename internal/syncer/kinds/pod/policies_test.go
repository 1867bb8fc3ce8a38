package pod_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/fence"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/kinds/networkpolicy"
)

func newPolicy(namespace, name, app string, from ...networkingv1.NetworkPolicyPeer) *networkingv1.NetworkPolicy {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
	if len(from) > 0 {
		policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: from}}
	}
	return policy
}

// hostPolicy waits until a policy of the host is as wanted.
func (w *world) hostPolicy(t *testing.T, namespace, name string, check func(*networkingv1.NetworkPolicy) error) *networkingv1.NetworkPolicy {
	t.Helper()
	policy := &networkingv1.NetworkPolicy{}
	eventually(t, "host policy "+name, func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKey{Namespace: mapping.HostNamespace(tenantID, namespace), Name: name}, policy); err != nil {
			return err
		}
		return check(policy)
	})
	return policy
}

func exists(*networkingv1.NetworkPolicy) error { return nil }

// fenced waits until a host pod has these labels.
func (w *world) fenced(t *testing.T, virtualPod *corev1.Pod, ingress, egress string) {
	t.Helper()
	eventually(t, "labels of "+virtualPod.Name, func(context.Context) error {
		labels := w.hostPod(t, virtualPod).Labels
		if labels[mapping.LabelIngress] != ingress || labels[mapping.LabelEgress] != egress {
			return fmt.Errorf("they are %v, want ingress %q and egress %q", labels, ingress, egress)
		}
		return nil
	})
}

// testPolicies: which pods the fence lets go follows the tenant's policies.
func testPolicies(t *testing.T, w *world) {
	namespace := w.namespace(t, "policies")
	web, hostWeb := w.running(t, newPod(namespace, "web"))
	w.fenced(t, web, fence.Open, fence.Open)

	policy := newPolicy(namespace, "deny", "web")
	create(t, w.tenant, policy)
	w.fenced(t, web, fence.ByPolicy, fence.Open)
	copied := w.hostPolicy(t, namespace, "deny", exists)
	if len(copied.Spec.Ingress) != 1 || len(copied.Spec.Ingress[0].From) != 1 {
		t.Errorf("the copy lets through more than the control plane: %+v", copied.Spec.Ingress)
	}

	opened := w.hostPod(t, web)
	opened.Labels[mapping.LabelIngress] = fence.Open
	if err := w.host.Update(t.Context(), opened); err != nil {
		t.Fatal(err)
	}
	w.fenced(t, web, fence.ByPolicy, fence.Open)

	second := newPod(namespace, "web-2")
	second.Labels["app"] = "web"
	create(t, w.tenant, second)
	if labels := w.hostPod(t, second).Labels; labels[mapping.LabelIngress] != fence.ByPolicy {
		t.Errorf("a new pod is open for a moment: %v", labels)
	}

	w.relabel(t, web, map[string]string{"app": "other"})
	w.fenced(t, web, fence.Open, fence.Open)
	w.relabel(t, web, map[string]string{"app": "web"})
	w.fenced(t, web, fence.ByPolicy, fence.Open)
	if err := w.tenant.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	w.gone(t, w.host, copied)
	w.fenced(t, web, fence.Open, fence.Open)
	if got := w.hostPod(t, web).UID; got != hostWeb.UID {
		t.Error("the pod was made anew")
	}
}

func (w *world) relabel(t *testing.T, virtualPod *corev1.Pod, labels map[string]string) {
	t.Helper()
	current := &corev1.Pod{}
	eventually(t, "label "+virtualPod.Name, func(ctx context.Context) error {
		if err := w.tenant.Get(ctx, client.ObjectKeyFromObject(virtualPod), current); err != nil {
			return err
		}
		current.Labels = labels
		return w.tenant.Update(ctx, current)
	})
}

// testPolicyAttacks: neither a name nor a selector of a tenant's policy gets at the fence.
func testPolicyAttacks(t *testing.T, w *world) {
	namespace := w.namespace(t, "policy-attacks")
	web, _ := w.running(t, newPod(namespace, "web"))
	before := w.hostPolicy(t, namespace, fence.ClosedPolicy, exists)

	forged := newPolicy(namespace, fence.ClosedPolicy, "web", networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}})
	create(t, w.tenant, forged)
	w.eventOn(t, forged, engine.ReasonNotSupported)
	w.fenced(t, web, fence.ByPolicy, fence.Open)
	if err := w.tenant.Delete(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	w.fenced(t, web, fence.Open, fence.Open)
	after := w.hostPolicy(t, namespace, fence.ClosedPolicy, exists)
	if after.UID != before.UID || after.ResourceVersion != before.ResourceVersion {
		t.Error("the fence was touched")
	}

	strange := newPolicy(namespace, "strange", "web")
	strange.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: mapping.LabelIngress, Operator: metav1.LabelSelectorOpDoesNotExist}}
	create(t, w.tenant, strange)
	w.eventOn(t, strange, engine.ReasonNotSupported)
	w.fenced(t, web, fence.ByPolicy, fence.Open)

	inside := newPolicy(namespace, "inside", "web", networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "169.254.169.254/32"}})
	create(t, w.tenant, inside)
	w.eventOn(t, inside, networkpolicy.ReasonPeerNotAllowed)
	copied := w.hostPolicy(t, namespace, "inside", exists)
	if len(copied.Spec.Ingress) != 1 || copied.Spec.Ingress[0].From[0].IPBlock != nil || len(copied.Spec.Ingress[0].From) != 1 {
		t.Errorf("the copy lets through %+v", copied.Spec.Ingress)
	}

	for _, name := range fence.PolicyNames() {
		policy := w.hostPolicy(t, namespace, name, exists)
		if err := w.host.Delete(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		w.gone(t, w.host, policy)
		w.hostPolicy(t, namespace, name, exists)
	}
}

// testPolicyRanges: a new node of the host is fenced off in every policy that lets through addresses.
func testPolicyRanges(t *testing.T, w *world) {
	namespace := w.namespace(t, "policy-ranges")
	create(t, w.tenant, newPolicy(namespace, "public", "web", networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "198.51.100.0/24"}}))
	w.hostPolicy(t, namespace, "public", exists)

	hostNode := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}}
	create(t, w.host, hostNode)
	hostNode.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeExternalIP, Address: "198.51.100.9"}}
	if err := w.host.Status().Update(t.Context(), hostNode); err != nil {
		t.Fatal(err)
	}
	barred := func(wanted bool) func(policy *networkingv1.NetworkPolicy) error {
		return func(policy *networkingv1.NetworkPolicy) error {
			var except []string
			for _, rule := range policy.Spec.Ingress {
				for _, peer := range rule.From {
					if peer.IPBlock != nil {
						except = append(except, peer.IPBlock.Except...)
					}
				}
			}
			if slices.Contains(except, "198.51.100.9/32") != wanted {
				return fmt.Errorf("except is %v", except)
			}
			return nil
		}
	}
	w.hostPolicy(t, namespace, "public", barred(true))
	w.hostPolicy(t, namespace, fence.OpenIngressPolicy, barred(true))
	if err := w.host.Delete(t.Context(), hostNode); err != nil {
		t.Fatal(err)
	}
	w.hostPolicy(t, namespace, "public", barred(false))
	w.hostPolicy(t, namespace, fence.OpenIngressPolicy, barred(false))
}
