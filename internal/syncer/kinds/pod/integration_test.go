package pod_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// TestPods runs the state machine between two real API servers.
func TestPods(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]func(*testing.T, *world){
		"life":                 testLife,
		"restart at each step": testRestarts,
		"successor":            testSuccessor,
		"foreign pod":          testForeign,
		"vanished":             testVanished,
		"vanished halfway":     testVanishedHalfway,
		"removed halfway":      testRemovedHalfway,
		"unscheduled job":      testUnscheduledJob,
		"eviction":             testEviction,
		"refused":              testRefused,
		"orphan":               testOrphan,
		"job":                  testJob,
		"namespace ends":       testNamespaceEnds,
		"references":           testReferences,
		"foreign reference":    testForeignReference,
		"token":                testToken,
		"lost copies":          testLostCopies,
		"two tenants":          testTwoTenants,
		"back":                 testBack,
		"latency":              testLatency,
		"changes":              testChanges,
		"classes":              testClasses,
		"ready before binding": testReadyBeforeBinding,
		"nodes":                testNodes,
		"policies":             testPolicies,
		"policy attacks":       testPolicyAttacks,
		"policy ranges":        testPolicyRanges,
		"quiet":                testQuiet,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

func testLife(t *testing.T, w *world) {
	namespace := w.namespace(t, "life")
	virtualPod, hostPod := w.running(t, newPod(namespace, "web"))

	if virtualPod.Spec.NodeName != nodeName {
		t.Errorf("the tenant's pod is on node %q, want %q", virtualPod.Spec.NodeName, nodeName)
	}
	if got := virtualPod.Annotations[mapping.AnnotationHostUID]; got != string(hostPod.UID) {
		t.Errorf("the marker is %q, want %q", got, hostPod.UID)
	}
	if virtualPod.Status.PodIP != "192.0.2.10" || len(virtualPod.Status.ContainerStatuses) != 1 {
		t.Errorf("the status did not come up: %+v", virtualPod.Status)
	}
	virtualNode := &corev1.Node{}
	if err := w.tenant.Get(t.Context(), client.ObjectKey{Name: nodeName}, virtualNode); err != nil {
		t.Fatalf("get the mirrored node: %v", err)
	}
	if len(virtualNode.Annotations) != 0 || virtualNode.Status.NodeInfo.MachineID != "" || len(virtualNode.Status.Addresses) != 1 {
		t.Errorf("the mirrored node is not scrubbed: %+v", virtualNode)
	}

	if err := w.tenant.Delete(t.Context(), virtualPod, client.GracePeriodSeconds(7)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "host pod is being deleted with the tenant's grace", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
			return err
		}
		if hostPod.DeletionGracePeriodSeconds == nil || *hostPod.DeletionGracePeriodSeconds != 7 {
			return fmt.Errorf("grace is %v", hostPod.DeletionGracePeriodSeconds)
		}
		return nil
	})
	w.virtualPod(t, virtualPod, "still there", func(*corev1.Pod) bool { return true })
	w.kubeletEnds(t, hostPod)
	w.gone(t, w.tenant, virtualPod)
}

func testRestarts(t *testing.T, w *world) {
	namespace := w.namespace(t, "restarts")
	virtualPod := newPod(namespace, "web")
	w.stop()
	create(t, w.tenant, virtualPod)
	w.start(t)
	hostPod := w.hostPod(t, virtualPod)
	first := hostPod.UID
	w.stop()
	w.schedule(t, hostPod)
	w.kubelet(t, hostPod, corev1.PodRunning)
	w.start(t)
	w.virtualPod(t, virtualPod, "ready", isReady)
	w.restart(t)
	w.virtualPod(t, virtualPod, "ready", isReady)
	if got := w.hostPod(t, virtualPod).UID; got != first {
		t.Fatalf("the host pod was made anew: %s, was %s", got, first)
	}
	w.stop()
	if err := w.tenant.Delete(t.Context(), virtualPod, client.GracePeriodSeconds(5)); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	eventually(t, "host pod is being deleted", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
			return err
		}
		if hostPod.DeletionTimestamp == nil {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	w.stop()
	w.kubeletEnds(t, hostPod)
	w.start(t)
	w.gone(t, w.tenant, virtualPod)
}
