package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/testenv"
)

// TestUninstall: what holds somebody's work is not deleted without leave; with it nothing is left, with the agent and without.
func TestUninstall(t *testing.T) {
	h := newHost(t, testenv.StartTenant(t))
	chart := chartForAnyVersion(t)
	playNodes(t, h)
	h.must(t, "install", "--chart", chart, "--timeout", "3m")
	before := everything(t, h)
	if len(before) < 10 {
		t.Fatalf("only %d objects are installed: %v", len(before), before)
	}
	h.must(t, "kubectl", "create", "namespace", "demo")
	virtualCluster := &clusterv1alpha1.VirtualCluster{ObjectMeta: metav1.ObjectMeta{
		Namespace: "demo", Name: "hello", Finalizers: []string{clusterv1alpha1.Finalizer},
	}}
	if err := h.client.Create(t.Context(), virtualCluster); err != nil {
		t.Fatal(err)
	}
	leaveBehind(t, h)

	h.fails(t, exit.Failed, []string{"1 virtualclusters (demo/hello)", "nothing was changed", "--delete-data"}, "uninstall")
	for _, name := range before {
		if !strings.Contains(strings.Join(everything(t, h), "\n"), name) {
			t.Errorf("%s is gone, though the command was refused", name)
		}
	}
	h.fails(t, exit.TimedOut, []string{"virtualclusters (demo/hello)", "--force"}, "uninstall", "--delete-data", "--timeout", "10s")

	h.must(t, "uninstall", "--delete-data", "--force", "--timeout", "3m")
	if left := everything(t, h); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	h.must(t, "uninstall")

	t.Run("WithAgent", func(t *testing.T) {
		awaitForgotten(t, h)
		h.must(t, "install", "--chart", chart, "--timeout", "3m")
		playAgent(t, h, "demo", nil)
		h.must(t, "create", "vc", "again", "-n", "demo", "--wait=false")
		h.must(t, "uninstall", "--delete-data", "--timeout", "3m")
		if left := everything(t, h); len(left) > 0 {
			t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
	})
}

// leaveBehind makes what an agent that is gone has left: a mapped namespace with a pod that it holds, and the role of an account.
func leaveBehind(t *testing.T, h *host) {
	t.Helper()
	host := kubernetes.NewForConfigOrDie(h.config)
	labels := map[string]string{mapping.LabelKind: mapping.KindMapped, mapping.LabelUID: "u", mapping.LabelID: "aaaaaaaa"}
	// The policies of the chart keep these labels to the agent.
	agentConfig := *h.config
	agentConfig.Impersonate.UserName = "system:serviceaccount:matryoshka-system:matryoshka-agent"
	asAgent := kubernetes.NewForConfigOrDie(&agentConfig)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vc-aaaaaaaa-default", Labels: labels}}
	if _, err := asAgent.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "job", Labels: labels, Finalizers: []string{mapping.FinalizerTerminalStatus}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			Containers:                   []corev1.Container{{Name: "c", Image: "example.org/image"}},
		},
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
	if _, err := host.CoreV1().ServiceAccounts(namespace.Name).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made.Spec.ServiceAccountName = account.Name
	if _, err := host.CoreV1().Pods(namespace.Name).Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "matryoshka-account-gone", Labels: map[string]string{mapping.LabelAccount: "gone"}}}
	if _, err := host.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hello-kubeconfig", Labels: map[string]string{mapping.LabelUID: "u"}}}
	if _, err := host.CoreV1().Secrets("demo").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitForgotten waits until the host's discovery does not know the kinds of the product any more, which takes it a moment.
func awaitForgotten(t *testing.T, h *host) {
	t.Helper()
	discovery := kubernetes.NewForConfigOrDie(h.config).Discovery()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 90*time.Second, true, func(context.Context) (bool, error) {
		groups, err := discovery.ServerGroups()
		if err != nil {
			return false, err
		}
		for _, group := range groups.Groups {
			if strings.HasSuffix(group.Name, ".matryoshka.dev") {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("the host still knows the kinds of the product: %v", err)
	}
}

// everything is what of the product is on the host, by what the host itself shows: names, labels and groups.
func everything(t *testing.T, h *host) []string {
	t.Helper()
	host := dynamic.NewForConfigOrDie(h.config)
	var found []string
	for _, resource := range []string{
		"customresourcedefinitions.v1.apiextensions.k8s.io", "validatingwebhookconfigurations.v1.admissionregistration.k8s.io",
		"mutatingwebhookconfigurations.v1.admissionregistration.k8s.io", "validatingadmissionpolicies.v1.admissionregistration.k8s.io",
		"validatingadmissionpolicybindings.v1.admissionregistration.k8s.io",
		"mutatingadmissionpolicies.v1.admissionregistration.k8s.io", "mutatingadmissionpolicybindings.v1.admissionregistration.k8s.io", "clusterroles.v1.rbac.authorization.k8s.io",
		"clusterrolebindings.v1.rbac.authorization.k8s.io", "rolebindings.v1.rbac.authorization.k8s.io", "namespaces.v1.", "secrets.v1.",
		"leases.v1.coordination.k8s.io", "serviceaccounts.v1.", "deployments.v1.apps",
	} {
		parsed, _ := schema.ParseResourceArg(resource)
		if parsed == nil {
			t.Fatalf("%q is no resource", resource)
		}
		list, err := host.Resource(*parsed).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatalf("list %s: %v", resource, err)
		}
		for _, item := range list.Items {
			whole := item.GetName() + " " + item.GetNamespace()
			for key := range item.GetLabels() {
				whole += " " + key
			}
			if strings.Contains(whole, "matryoshka") || strings.HasPrefix(item.GetName(), "vc-") {
				found = append(found, resource+" "+item.GetNamespace()+"/"+item.GetName())
			}
		}
	}
	return found
}
