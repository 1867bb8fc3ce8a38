package virtualcluster_test

import (
	"errors"
	"fmt"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
)

// The owner of a virtual cluster is told what the host has against its control plane.
func TestRefusedPodIsTold(t *testing.T) {
	env := newEnvironment(t)
	env.refusePods(t, "images of this registry are not signed")
	env.startAgent(t)
	env.create(t, newVirtualCluster("refused"))
	env.eventually(t, "the condition tells the host's reason", func() error {
		vc, err := env.get(t, "refused")
		if err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(vc.Status.Conditions, clusterv1alpha1.ConditionReady)
		if ready == nil || !contains(ready.Message, "images of this registry are not signed") {
			return fmt.Errorf("the condition is %+v", ready)
		}
		return nil
	})
}

// refusePods installs a policy that refuses every pod, as an operator may have one for some of them.
func (e *environment) refusePods(t *testing.T, message string) {
	t.Helper()
	e.create(t, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "no-pods"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Fail),
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: "false", Message: message}},
		},
	})
	e.create(t, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "no-pods"},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "no-pods", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "attempt"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "demo"}}},
	}
	e.eventually(t, "pods are refused", func() error {
		err := e.admin.Create(t.Context(), pod.DeepCopy(), client.DryRunAll)
		if err != nil && contains(err.Error(), message) {
			return nil
		}
		return errors.Join(errors.New("the pod is not refused by the policy"), err)
	})
}
