package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// A rollout ends although the agent is killed in the middle of it, and one that begins while the control plane has just come
// back from standing still does too. No pod is left or doubled, and nothing is left when the namespace is deleted.
//
// It runs alone: what other tests do goes through the agent.
func TestRolloutsEndWhenTheyAreDisturbed(t *testing.T) {
	v := newTenant(t, shared, "e2e-disturbed", "disturbed")
	const namespace = "rollouts"
	hostNamespace := mapping.HostNamespace(v.id, namespace)
	if _, err := v.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	v.apply(t, namespace, testdata(t, "rollout.yaml"))
	v.rolledOut(t, namespace, "")

	v.rollOut(t, namespace, "while-the-agent-is-killed")
	killAgents(t, v.host)
	v.rolledOut(t, namespace, "while-the-agent-is-killed")

	goOn := holdControlPlane(t, v)
	// A pod goes on the host, of which the tenant cannot be told.
	gone := anyPod(t, v, hostNamespace)
	zero := int64(0)
	err := v.host.client(t).CoreV1().Pods(hostNamespace).Delete(t.Context(), gone, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	if err != nil {
		t.Fatal(err)
	}
	v.notReady(t)
	goOn()
	v.rollOut(t, namespace, "after-the-control-plane-stood-still")
	v.rolledOut(t, namespace, "after-the-control-plane-stood-still")

	v.deleteCompletely(t, namespace)
}

// deleteCompletely deletes a namespace and waits until nothing of it is left on the host.
func (v *tenant) deleteCompletely(t *testing.T, namespace string) {
	t.Helper()
	if err := v.client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	hostNamespace := mapping.HostNamespace(v.id, namespace)
	host := v.host.client(t)
	eventually(t, startTimeout, func(ctx context.Context) error {
		_, err := host.CoreV1().Namespaces().Get(ctx, hostNamespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(fmt.Errorf("namespace %q is still on the host", hostNamespace), err)
	})
}

// rollOut changes the template of the Deployment, which replaces all its pods.
func (v *tenant) rollOut(t *testing.T, namespace, round string) {
	t.Helper()
	// The API server may just be coming back.
	eventually(t, startTimeout, func(ctx context.Context) error {
		patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{"round":%q}}}}}`, round)
		_, err := v.client.AppsV1().Deployments(namespace).Patch(ctx, "rolled", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	})
}

// rolledOut waits until all pods of both sides are those of one round.
func (v *tenant) rolledOut(t *testing.T, namespace, round string) {
	t.Helper()
	v.deploymentReady(t, namespace, "rolled")
	client := v.host.client(t)
	eventually(t, startTimeout, func(ctx context.Context) error {
		virtual, err := v.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		host, err := client.CoreV1().Pods(mapping.HostNamespace(v.id, namespace)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		want, have := map[string]string{}, map[string]string{}
		for _, pod := range virtual.Items {
			if pod.Labels["round"] != round || pod.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("pod %q is %s of round %q", pod.Name, describe(&pod), pod.Labels["round"])
			}
			want[pod.Name] = string(pod.UID)
		}
		for _, pod := range host.Items {
			have[pod.Name] = pod.Annotations[mapping.AnnotationTenantUID]
		}
		if len(want) != 4 || !maps.Equal(want, have) {
			return fmt.Errorf("the tenant has the pods %v, the host %v", want, have)
		}
		return nil
	})
}

// killAgents removes the pods of the agent without asking them.
func killAgents(t *testing.T, h *host) {
	t.Helper()
	zero := int64(0)
	for _, pod := range agentPods(t, h) {
		err := h.client(t).CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func agentPods(t *testing.T, h *host) []corev1.Pod {
	t.Helper()
	list, err := h.client(t).CoreV1().Pods("matryoshka-system").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	agents := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !strings.HasPrefix(pod.Name, "matryoshka-agent-") })
	if len(agents) == 0 {
		t.Fatal("there is no agent")
	}
	return agents
}

// holdControlPlane makes the process of a control plane stand still, as on a machine that swaps: its connections stay open and
// nothing answers.
func holdControlPlane(t *testing.T, v *tenant) (goOn func()) {
	t.Helper()
	pids := controlPlaneProcesses(t, v)
	signal := func(signal unix.Signal) {
		for _, pid := range pids {
			if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Errorf("send %s to process %d: %v", signal, pid, err)
			}
		}
	}
	signal(unix.SIGSTOP)
	goOn = func() { signal(unix.SIGCONT) }
	t.Cleanup(goOn)
	return goOn
}

// notReady waits until the agent has found out that the control plane does not answer.
func (v *tenant) notReady(t *testing.T) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		const path = `jsonpath={.status.conditions[?(@.type=="ControlPlaneReady")].status}`
		seen := v.host.matry(ctx, "kubectl", "get", "virtualcluster", v.name, "-n", v.namespace, "-o", path)
		if seen.err == nil && seen.stdout != "False" {
			return fmt.Errorf("ControlPlaneReady is %q", seen.stdout)
		}
		return seen.err
	})
}

func anyPod(t *testing.T, v *tenant, hostNamespace string) string {
	t.Helper()
	list, err := v.host.client(t).CoreV1().Pods(hostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("the host has no pods in %q: %v", hostNamespace, err)
	}
	return list.Items[0].Name
}
