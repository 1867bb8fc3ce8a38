package integration

import (
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// agentUser is who the engine is on the host. It has the rights that the chart gives the agent, and is confined as the chart
// confines it: what a kind needs beyond them fails here.
const agentUser = tenancytest.AgentUser

func impersonate(config *rest.Config, user string) *rest.Config {
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	return config
}

// beAgent gives the agent its rights on the host and returns the configuration by which it is one.
func (w *world) beAgent(t *testing.T) *rest.Config {
	t.Helper()
	for _, document := range documents(t, "agent-rbac.yaml", agentUser) {
		object := rbacObject(t, document)
		if object == nil {
			continue
		}
		create(t, w.host, object)
	}
	w.confine(t, agentUser, "")
	config := impersonate(w.hostConfig, agentUser)
	agent := newClient(t, config)
	eventually(t, "the agent has its rights", func() error { // the API server takes a moment to see them
		return errors.Join(agent.List(t.Context(), &corev1.NodeList{}), agent.List(t.Context(), &corev1.NamespaceList{}))
	})
	return config
}

// rbacObject decodes a cluster-wide object of RBAC; those of the agent's own namespace are not needed here.
func rbacObject(t *testing.T, document string) client.Object {
	t.Helper()
	var object client.Object
	switch kindOf(t, document) {
	case "ClusterRole":
		object = &rbacv1.ClusterRole{}
	case "ClusterRoleBinding":
		object = &rbacv1.ClusterRoleBinding{}
	default:
		return nil
	}
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("decode %s: %v", document, err)
	}
	return object
}

// confine puts a user under the admission policy of the agent. The suffix tells several of them apart.
func (w *world) confine(t *testing.T, user, suffix string) {
	t.Helper()
	policies := kubernetes.NewForConfigOrDie(w.hostConfig).AdmissionregistrationV1()
	for _, document := range documents(t, "agent-policy.yaml", user) {
		var err error
		switch kindOf(t, document) {
		case "ValidatingAdmissionPolicy":
			policy := &admissionv1.ValidatingAdmissionPolicy{}
			if err = yaml.UnmarshalStrict([]byte(document), policy); err == nil && policy.Name == "matryoshka-agent-confined" {
				policy.Name += suffix
				_, err = policies.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{})
			}
		case "ValidatingAdmissionPolicyBinding":
			binding := &admissionv1.ValidatingAdmissionPolicyBinding{}
			if err = yaml.UnmarshalStrict([]byte(document), binding); err == nil && binding.Name == "matryoshka-agent-confined" {
				binding.Name += suffix
				binding.Spec.PolicyName += suffix
				_, err = policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{})
			}
		}
		if err != nil {
			t.Fatalf("apply %s: %v", document, err)
		}
	}
}

func kindOf(t *testing.T, document string) string {
	t.Helper()
	kind := metav1.TypeMeta{}
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		t.Fatal(err)
	}
	return kind.Kind
}

// documents are the objects of a template of the chart, for another user than the agent's.
func documents(t *testing.T, template, user string) []string {
	t.Helper()
	text := strings.ReplaceAll(tenancytest.RenderTemplate(t, template), tenancytest.AgentUser, user)
	return strings.Split(text, "\n---\n")
}
