package pod_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// TestSleep: a virtual cluster that sleeps loses its host pods and keeps its pods.
func TestSleep(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]func(*testing.T, *world){
		"sleep":              testSleep,
		"woken while ending": testWokenWhilePodsEnd,
		"unseen":             testUnseenSleep,
		"lost after waking":  testLostAfterWaking,
		"node gone":          testNodeGoneInSleep,
		"ends in sleep":      testEndsInSleep,
		"forged epoch":       testForgedEpoch,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

// fallAsleep does what the lifecycle does first: it writes the epoch down, and waits until the sync has let go.
func (w *world) fallAsleep(t *testing.T) {
	t.Helper()
	w.epoch.Add(1)
	w.hearOfSleep(t)
}

// hearOfSleep has the registry know what the host knows.
func (w *world) hearOfSleep(t *testing.T) {
	t.Helper()
	tenant, _ := w.registry.ByUID(tenantUID)
	tenant.Asleep, tenant.Ready, tenant.SleepEpoch = true, false, w.epoch.Load()
	w.registry.Set(tenant)
	eventually(t, "the sync lets go", func(context.Context) error {
		if !w.engine.AtRest(tenantUID) {
			return errors.New("it does not")
		}
		return nil
	})
}

func (w *world) wake(t *testing.T) {
	t.Helper()
	tenant, _ := w.registry.ByUID(tenantUID)
	tenant.Asleep, tenant.Ready = false, true
	w.registry.Set(tenant)
}

// successor waits for the host pod that is made after another one of the same tenant pod.
func (w *world) successor(t *testing.T, virtualPod, old *corev1.Pod) *corev1.Pod {
	t.Helper()
	current := &corev1.Pod{}
	eventually(t, "a new host pod of "+virtualPod.Name, func(ctx context.Context) error {
		if err := w.host.Get(ctx, hostKey(virtualPod), current); err != nil {
			return err
		}
		if current.UID == old.UID {
			return errors.New("it is still the old one")
		}
		return nil
	})
	return current
}

// testSleep: waking is the reboot of a node. The pod of the tenant is the same one, on the same node, with one restart more and a
// new address, and its token is made before it.
func testSleep(t *testing.T, w *world) {
	namespace := w.namespace(t, "sleeper")
	before, hostPod := w.running(t, newPod(namespace, "web"))
	w.fallAsleep(t)
	w.kubeletEnds(t, hostPod)
	w.gone(t, w.host, hostPod)
	w.wake(t)

	again := w.successor(t, before, hostPod)
	if !isPinned(again, nodeName) {
		t.Errorf("the new host pod is not bound to its node: %+v", again.Spec.Affinity)
	}
	bundle := &corev1.Secret{}
	eventually(t, "the token belongs to the new host pod", func(ctx context.Context) error {
		key := client.ObjectKey{Namespace: again.Namespace, Name: "matryoshka-pod-" + string(before.UID)}
		if err := w.host.Get(ctx, key, bundle); err != nil {
			return err
		}
		if len(bundle.OwnerReferences) != 1 || bundle.OwnerReferences[0].UID != again.UID {
			return fmt.Errorf("its owners are %v, want %s", bundle.OwnerReferences, again.UID)
		}
		return nil
	})
	stopped := w.virtualPod(t, before, "not ready, without an address", func(pod *corev1.Pod) bool { return !isReady(pod) && pod.Status.PodIP == "" })
	if stopped.UID != before.UID || stopped.DeletionTimestamp != nil || stopped.Spec.NodeName != nodeName {
		t.Errorf("the pod did not stay as it was: UID %s, deletion %v, node %q", stopped.UID, stopped.DeletionTimestamp, stopped.Spec.NodeName)
	}
	w.schedule(t, again)
	w.kubelet(t, again, corev1.PodRunning)
	running := w.virtualPod(t, before, "ready again", isReady)
	if got := running.Status.ContainerStatuses[0].RestartCount; got != 1 {
		t.Errorf("it was restarted %d times, want once", got)
	}
	if running.Status.ContainerStatuses[0].LastTerminationState.Terminated == nil || running.Status.PodIP == "" {
		t.Errorf("the status does not tell of its restart: %+v", running.Status)
	}

	w.toldWhereItWas(t, namespace)

	// A second time: the restarts add up.
	w.fallAsleep(t)
	w.kubeletEnds(t, again)
	w.gone(t, w.host, again)
	w.wake(t)
	third := w.successor(t, before, again)
	w.schedule(t, third)
	w.kubelet(t, third, corev1.PodRunning)
	w.virtualPod(t, before, "restarted twice", func(pod *corev1.Pod) bool {
		return isReady(pod) && pod.Status.ContainerStatuses[0].RestartCount == 2
	})
}

// toldWhereItWas: a pod for which its node has no room any more waits there, and its owner is told.
func (w *world) toldWhereItWas(t *testing.T, namespace string) {
	t.Helper()
	before, hostPod := w.running(t, newPod(namespace, "crowded"))
	w.fallAsleep(t)
	w.kubeletEnds(t, hostPod)
	w.wake(t)
	again := w.successor(t, before, hostPod)
	again.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available",
		LastTransitionTime: metav1.NewTime(w.now().Add(-time.Minute)),
	}}
	if err := w.host.Status().Update(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	w.eventOn(t, before, "HostUnschedulable")
	waiting := &corev1.Pod{}
	if err := w.tenant.Get(t.Context(), client.ObjectKeyFromObject(before), waiting); err != nil || waiting.Status.Phase == corev1.PodFailed {
		t.Errorf("the pod does not wait: %s (%s), %v", waiting.Status.Phase, waiting.Status.Reason, err)
	}
}

func isPinned(hostPod *corev1.Pod, node string) bool {
	if hostPod.Spec.Affinity == nil || hostPod.Spec.Affinity.NodeAffinity == nil || hostPod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return false
	}
	for _, term := range hostPod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, field := range term.MatchFields {
			if field.Key == metav1.ObjectNameField && len(field.Values) == 1 && field.Values[0] == node {
				return true
			}
		}
	}
	return false
}

// testWokenWhilePodsEnd: a host pod that is still ending when the virtual cluster wakes ends its own life only.
func testWokenWhilePodsEnd(t *testing.T, w *world) {
	namespace := w.namespace(t, "hasty")
	before, hostPod := w.running(t, newPod(namespace, "web"))
	w.fallAsleep(t)
	if err := w.host.Delete(t.Context(), hostPod); err != nil {
		t.Fatal(err)
	}
	w.wake(t)
	w.virtualPod(t, before, "not ready", func(pod *corev1.Pod) bool { return !isReady(pod) })
	w.restart(t) // and a new agent sees it the same way
	w.eventuallyQuiet(t)
	w.kubeletEnds(t, hostPod)
	again := w.successor(t, before, hostPod)
	w.schedule(t, again)
	w.kubelet(t, again, corev1.PodRunning)
	if after := w.virtualPod(t, before, "ready again", isReady); after.UID != before.UID {
		t.Errorf("it is another pod: %s, was %s", after.UID, before.UID)
	}
}

// testUnseenSleep: an agent whose registry has not heard of the sleep must not take what it lacks for lost.
func testUnseenSleep(t *testing.T, w *world) {
	namespace := w.namespace(t, "unseen")
	gone, goneHost := w.running(t, newPod(namespace, "gone"))
	ending, endingHost := w.running(t, newPod(namespace, "ending"))
	w.epoch.Add(1) // on the host; the registry is behind
	if err := w.host.Delete(t.Context(), endingHost); err != nil {
		t.Fatal(err)
	}
	w.kubeletEnds(t, goneHost)
	w.gone(t, w.host, goneHost)
	w.eventuallyQuiet(t)
	for _, virtualPod := range []*corev1.Pod{gone, ending} {
		w.virtualPod(t, virtualPod, "as it was", func(pod *corev1.Pod) bool {
			return pod.UID == virtualPod.UID && pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning
		})
	}
	w.hearOfSleep(t)
	w.kubeletEnds(t, endingHost)
	w.wake(t)
	for _, virtualPod := range []*corev1.Pod{gone, ending} {
		again := w.hostPod(t, virtualPod)
		w.schedule(t, again)
		w.kubelet(t, again, corev1.PodRunning)
		w.virtualPod(t, virtualPod, "restarted", func(pod *corev1.Pod) bool {
			return isReady(pod) && pod.UID == virtualPod.UID && pod.Status.ContainerStatuses[0].RestartCount == 1
		})
	}
}

// testLostAfterWaking: what vanishes after the virtual cluster woke is lost, as ever.
func testLostAfterWaking(t *testing.T, w *world) {
	namespace := w.namespace(t, "lostafter")
	before, hostPod := w.running(t, newPod(namespace, "web"))
	w.fallAsleep(t)
	w.kubeletEnds(t, hostPod)
	w.wake(t)
	again := w.successor(t, before, hostPod)
	w.schedule(t, again)
	w.kubelet(t, again, corev1.PodRunning)
	w.virtualPod(t, before, "ready again", isReady)
	w.kubeletEnds(t, again)
	w.gone(t, w.tenant, before)
}

// testNodeGoneInSleep: a pod whose node is gone ends as the pod collector ends it.
func testNodeGoneInSleep(t *testing.T, w *world) {
	namespace := w.namespace(t, "homeless")
	create(t, w.host, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}})
	virtualPod := newPod(namespace, "web")
	create(t, w.tenant, virtualPod)
	hostPod := w.hostPod(t, virtualPod)
	err := w.host.SubResource("binding").Create(t.Context(), hostPod, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostPod.Namespace, Name: hostPod.Name},
		Target:     corev1.ObjectReference{Kind: "Node", Name: "node-2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.kubelet(t, hostPod, corev1.PodRunning)
	w.virtualPod(t, virtualPod, "ready", isReady)
	w.fallAsleep(t)
	w.kubeletEnds(t, hostPod)
	if err := w.host.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine sees that node-2 is gone", func(ctx context.Context) error {
		if err := w.engine.HostCache().Get(ctx, client.ObjectKey{Name: "node-2"}, &corev1.Node{}); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	})
	w.wake(t)
	w.gone(t, w.tenant, virtualPod)
}

// testEndsInSleep: what has ended by itself before the sleep is told after it, and does not run again.
func testEndsInSleep(t *testing.T, w *world) {
	namespace := w.namespace(t, "ended")
	virtualPod := newPod(namespace, "batch")
	virtualPod.Spec.RestartPolicy = corev1.RestartPolicyNever
	before, hostPod := w.running(t, virtualPod)
	w.fallAsleep(t)
	w.kubelet(t, hostPod, corev1.PodSucceeded)
	w.wake(t)
	w.virtualPod(t, before, "succeeded", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodSucceeded })
	current := &corev1.Pod{}
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(hostPod), current); err != nil || current.UID != hostPod.UID || current.DeletionTimestamp != nil {
		t.Errorf("the host pod that had ended was touched: %v, deletion %v", err, current.DeletionTimestamp)
	}
}

// testForgedEpoch: a tenant that writes into the marks of its pod harms nobody else and makes no second host pod.
func testForgedEpoch(t *testing.T, w *world) {
	namespace := w.namespace(t, "forger")
	before, hostPod := w.running(t, newPod(namespace, "web"))
	for _, forged := range []string{"-1", "9223372036854775807", "99999999999999999999", "<script>"} {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, mapping.AnnotationSleepEpoch, forged)
		if err := w.tenant.Patch(t.Context(), before.DeepCopy(), client.RawPatch("application/merge-patch+json", patch)); err != nil {
			t.Fatal(err)
		}
		w.eventuallyQuiet(t)
		current := &corev1.Pod{}
		if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(hostPod), current); err != nil || current.UID != hostPod.UID || current.DeletionTimestamp != nil {
			t.Fatalf("with the epoch %q the host pod did not stay: %v, deletion %v", forged, err, current.DeletionTimestamp)
		}
	}
}
