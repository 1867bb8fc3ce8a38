package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A class of the host whose volumes wait for the first pod. The embedded host's own class does not.
const lateClass = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: e2e-late}
provisioner: local.matryoshka.dev
volumeBindingMode: WaitForFirstConsumer
`

// A virtual cluster with a scheduler of its own places pods by what its owner puts on the nodes, and volumes follow.
func TestOwnScheduler(t *testing.T) {
	t.Parallel()
	shared.mustApply(t, lateClass)
	t.Cleanup(func() {
		if err := shared.matry(context.Background(), "kubectl", "delete", "storageclass", "e2e-late").err; err != nil {
			t.Error(err)
		}
	})
	v := newTenant(t, shared, "e2e-scheduling", "own", "--scheduling", "tenant")
	namespace := v.newNamespace(t, "placed")
	name := v.onlyNode(t)
	v.checkShare(t, name)

	v.apply(t, namespace, testdata(t, "scheduling.yaml"))
	v.awaitPending(t, namespace, "app=web", "didn't match Pod's node affinity/selector")
	v.mustKubectl(t, "label", "node", name, "disk=fast")
	v.awaitPending(t, namespace, "app=web", "Insufficient example.com/seat")
	v.patchStatus(t, name, `{"status":{"capacity":{"example.com/seat":"1"}}}`)
	v.deploymentReady(t, namespace, "web")
	v.claimBound(t, namespace, "data")

	// The tenant's own taint holds its pods back, and its taint eviction ends those that run; the host knows nothing of it.
	v.mustKubectl(t, "taint", "node", name, "mine=yes:NoExecute")
	v.awaitPending(t, namespace, "app=web", "untolerated taint")
	if seen := shared.mustMatry(t, "kubectl", "get", "node", name, "-o", "jsonpath={.spec.taints}{.metadata.labels.disk}{.status.capacity.example\\.com/seat}"); seen != "" {
		t.Errorf("the host's node has %q of the tenant", seen)
	}
	eventually(t, startTimeout, func(ctx context.Context) error {
		daemons, err := v.client.AppsV1().DaemonSets(namespace).Get(ctx, "everywhere", metav1.GetOptions{})
		if err == nil && daemons.Status.DesiredNumberScheduled != 1 {
			err = fmt.Errorf("the DaemonSet wants %d pods, want 1", daemons.Status.DesiredNumberScheduled)
		}
		return err
	})
	v.mustKubectl(t, "taint", "node", name, "mine-")
	v.deploymentReady(t, namespace, "web")
	eventually(t, startTimeout, func(ctx context.Context) error {
		daemons, err := v.client.AppsV1().DaemonSets(namespace).Get(ctx, "everywhere", metav1.GetOptions{})
		if err == nil && daemons.Status.NumberReady != 1 {
			return fmt.Errorf("the DaemonSet has %d pods ready", daemons.Status.NumberReady)
		}
		return err
	})
}

// onlyNode waits for the tenant's one node and returns its name.
func (v *tenant) onlyNode(t testing.TB) (name string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		nodes, err := v.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(nodes.Items) != 1 {
			return fmt.Errorf("%d nodes", len(nodes.Items))
		}
		name = nodes.Items[0].Name
		return nil
	})
	return name
}

// checkShare makes sure that the tenant is not shown as its own what the agent and the other pods of the host have.
func (v *tenant) checkShare(t testing.TB, name string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		virtualNode, err := v.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status := virtualNode.Status
		if status.Capacity.Pods().IsZero() || status.Allocatable.Pods().Cmp(*status.Capacity.Pods()) >= 0 {
			return fmt.Errorf("room for %s of %s pods", status.Allocatable.Pods(), status.Capacity.Pods())
		}
		return nil
	})
}

// patchStatus writes into the status of a node, as whoever advertises an extended resource does.
func (v *tenant) patchStatus(t testing.TB, node, content string) {
	t.Helper()
	_, err := v.client.CoreV1().Nodes().Patch(t.Context(), node, types.StrategicMergePatchType, []byte(content), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

// awaitPending waits until the scheduler finds no node for the one pod that a selector matches, and says so in these words.
func (v *tenant) awaitPending(t testing.TB, namespace, selector, words string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		pods, err := v.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		if len(pods.Items) != 1 || pods.Items[0].DeletionTimestamp != nil {
			return fmt.Errorf("%d pods, or one that is ending", len(pods.Items))
		}
		for _, condition := range pods.Items[0].Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse && strings.Contains(condition.Message, words) {
				return nil
			}
		}
		return errors.New("conditions are " + fmt.Sprint(pods.Items[0].Status.Conditions))
	})
}
