package e2e

import (
	"context"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// Whoever takes the agent over can do on the host what the agent may, and that ends at its own namespaces.
func TestAttackWithTheAgentsRights(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	config := rest.CopyConfig(v.host.config(t))
	const account = "system:serviceaccount:matryoshka-system:matryoshka-agent"
	config.Impersonate = rest.ImpersonationConfig{
		UserName: account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:matryoshka-system", "system:authenticated"},
	}
	agent, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, dryRun := t.Context(), []string{metav1.DryRunAll}
	// First that this is the agent: it may do its work.
	if _, err := agent.CoreV1().Namespaces().Get(ctx, mapping.ControlNamespace(v.id), metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.CoreV1().Secrets(mapping.ControlNamespace(v.id)).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, startTimeout, func(ctx context.Context) error {
		_, err := agent.CoreV1().Namespaces().Get(ctx, mapping.HostNamespace(v.id, "default"), metav1.GetOptions{})
		return err
	})
	labels := map[string]string{mapping.LabelID: v.id, mapping.LabelKind: mapping.KindMapped}
	label := []byte(`{"metadata":{"labels":{"` + mapping.LabelID + `":"` + v.id + `","` + mapping.LabelKind + `":"mapped"}}}`)
	stepping := rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "stepping-stone"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: account}},
	}
	attacks := map[string]func() error{
		"relabel kube-system": func() error {
			_, err := agent.CoreV1().Namespaces().Patch(ctx, "kube-system", types.MergePatchType, label, metav1.PatchOptions{DryRun: dryRun})
			return err
		},
		"delete kube-system": func() error {
			return agent.CoreV1().Namespaces().Delete(ctx, "kube-system", metav1.DeleteOptions{DryRun: dryRun})
		},
		"make a namespace of another form of name": func() error {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "innocent", Labels: labels}}
			_, err := agent.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
		"read Secrets elsewhere": func() error {
			_, err := agent.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
			return err
		},
		"read what everybody's pods use": func() error {
			return agent.Discovery().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/pods").Do(ctx).Error()
		},
		"read what nodes use": func() error {
			return agent.Discovery().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/nodes").Do(ctx).Error()
		},
		"read all Secrets": func() error {
			_, err := agent.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
			return err
		},
		"run a pod elsewhere": func() error {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "intruder", Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "busybox"}}},
			}
			_, err := agent.CoreV1().Pods("kube-system").Create(ctx, pod, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
		"make a token elsewhere": func() error {
			_, err := agent.CoreV1().ServiceAccounts("kube-system").CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
		"become admin of a mapped namespace": func() error {
			_, err := agent.RbacV1().RoleBindings(mapping.HostNamespace(v.id, "default")).Create(ctx, &stepping, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
		"become admin of kube-system": func() error {
			_, err := agent.RbacV1().RoleBindings("kube-system").Create(ctx, &stepping, metav1.CreateOptions{DryRun: dryRun})
			return err
		},
		"lift its own policies": func() error {
			return agent.AdmissionregistrationV1().ValidatingAdmissionPolicies().DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dryRun}, metav1.ListOptions{})
		},
		"use the kubelets": func() error {
			return agent.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/matryoshka/proxy/pods").Do(ctx).Error()
		},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			if err := attack(); !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Errorf("the host answers %v, want a refusal", err)
			}
		})
	}
}

// The labels by which the agent knows its namespaces are the agent's: not even an administrator of a namespace sets them.
func TestAttackWithTheAgentsLabels(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	host := v.host.client(t)
	ensureHostNamespace(t, v.host, "e2e-labels")
	label := []byte(`{"metadata":{"labels":{"` + mapping.LabelID + `":"` + v.id + `","` + mapping.LabelKind + `":"mapped"}}}`)
	_, err := host.CoreV1().Namespaces().Patch(t.Context(), "e2e-labels", types.MergePatchType, label, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
		t.Errorf("a namespace that is not the agent's gets its labels: %v", err)
	}
}
