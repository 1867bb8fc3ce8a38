package integration

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

func selecting(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

// testNetworkPolicies: creation, edits on both sides and the end of a copy. What is in it, the unit tests say.
func testNetworkPolicies(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "netpol")
	policy := create(t, w.virtual, &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "netpol", Name: "web"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *selecting("web"),
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "blue"}}}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(8000)), EndPort: new(int32(8100))}, {Port: new(intstr.FromString("metrics"))}},
			}},
		},
	})
	key := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	opens := func(label, value string) func(*networkingv1.NetworkPolicy) error {
		return func(policy *networkingv1.NetworkPolicy) error {
			if len(policy.Spec.Ingress) == 0 || len(policy.Spec.Ingress[0].From) != 1 {
				return fmt.Errorf("rules are %+v", policy.Spec.Ingress)
			}
			labels := policy.Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels
			return expect(labels[label] == value && labels[mapping.LabelUID] == string(w.tenant.UID) && len(policy.Spec.Ingress[0].Ports) == 2, "rules are %+v", policy.Spec.Ingress)
		}
	}
	hostPolicy := await(t, w.host, key, &networkingv1.NetworkPolicy{}, opens(mapping.HostNamespaceLabel("team"), "blue"))
	change(t, w.host, hostPolicy, func(policy *networkingv1.NetworkPolicy) { policy.Spec.Ingress[0].From = nil })
	await(t, w.host, key, &networkingv1.NetworkPolicy{}, opens(mapping.HostNamespaceLabel("team"), "blue"))
	change(t, w.virtual, policy, func(policy *networkingv1.NetworkPolicy) {
		policy.Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels = map[string]string{"kubernetes.io/metadata.name": "other"}
	})
	await(t, w.host, key, &networkingv1.NetworkPolicy{}, opens(mapping.LabelTenantNamespace, "other"))

	// A successor of the same name takes the copy over.
	remove(t, w.virtual, policy)
	policy.ResourceVersion, policy.UID = "", ""
	create(t, w.virtual, policy)
	await(t, w.host, key, &networkingv1.NetworkPolicy{}, func(hostPolicy *networkingv1.NetworkPolicy) error {
		return expect(hostPolicy.Annotations[mapping.AnnotationTenantUID] == string(policy.UID), "the copy is that of another")
	})
	remove(t, w.virtual, policy)
	awaitGone(t, w.host, key, &networkingv1.NetworkPolicy{})
}

// testBudgets: the tenant's own controller works out from its Deployment how many pods must stay.
func testBudgets(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "budgets")
	deployment := create(t, w.virtual, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "budgets", Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(10)), Selector: selecting("web"),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			},
		},
	})
	budget := create(t, w.virtual, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "budgets", Name: "web"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromString("30%")), Selector: selecting("web")},
	})
	key := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	keeps := func(healthy int) func(*policyv1.PodDisruptionBudget) error {
		return func(hostBudget *policyv1.PodDisruptionBudget) error {
			return expect(hostBudget.Spec.MinAvailable.IntValue() == healthy && hostBudget.Spec.MaxUnavailable == nil, "spec is %+v", hostBudget.Spec)
		}
	}
	hostBudget := await(t, w.host, key, &policyv1.PodDisruptionBudget{}, keeps(7))
	change(t, w.host, hostBudget, func(hostBudget *policyv1.PodDisruptionBudget) {
		hostBudget.Spec.MinAvailable = new(intstr.FromInt32(0))
	})
	await(t, w.host, key, &policyv1.PodDisruptionBudget{}, keeps(7))
	change(t, w.virtual, deployment, func(deployment *appsv1.Deployment) { deployment.Spec.Replicas = new(int32(20)) })
	await(t, w.host, key, &policyv1.PodDisruptionBudget{}, keeps(14))
	remove(t, w.virtual, budget)
	awaitGone(t, w.host, key, &policyv1.PodDisruptionBudget{})

	strange := create(t, w.virtual, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "budgets", Name: "strange"},
		Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{
			MatchLabels: map[string]string{mapping.LabelTenantNamespace: "budgets"},
		}},
	})
	w.awaitEvent(t, "budgets", strange.Name, engine.ReasonNotSupported)
	reserved := create(t, w.virtual, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "budgets", Name: mapping.ReservedPrefix + "budget"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: selecting("web")},
	})
	w.awaitEvent(t, "budgets", reserved.Name, engine.ReasonNotSupported)
}
