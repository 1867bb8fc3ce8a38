package pod_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// testSuccessor: a pod of the same name must wait until the old host pod is gone, and never get its status.
func testSuccessor(t *testing.T, w *world) {
	namespace := w.namespace(t, "successor")
	first, firstHost := w.running(t, newPod(namespace, "db-0"))
	if err := w.tenant.Delete(t.Context(), first, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	w.gone(t, w.tenant, first)
	second := newPod(namespace, "db-0")
	create(t, w.tenant, second)
	eventually(t, "old host pod is being deleted, with its own grace", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(firstHost), firstHost); err != nil {
			return err
		}
		if firstHost.DeletionTimestamp == nil || *firstHost.DeletionGracePeriodSeconds != 30 {
			return fmt.Errorf("deletion %v, grace %v", firstHost.DeletionTimestamp, firstHost.DeletionGracePeriodSeconds)
		}
		return nil
	})
	w.restart(t)
	w.kubelet(t, firstHost, corev1.PodFailed)
	w.kubeletEnds(t, firstHost)
	secondHost := w.hostPod(t, second)
	if secondHost.UID == firstHost.UID {
		t.Fatal("the successor got the old host pod")
	}
	current := w.virtualPod(t, second, "pending", func(pod *corev1.Pod) bool { return pod.UID == second.UID })
	if current.Status.Phase != corev1.PodPending || current.Spec.NodeName != "" {
		t.Errorf("the successor has the old pod's status: %+v", current.Status)
	}
}

// testForeign: what the host has under the name is never adopted or deleted, and the tenant is told.
func testForeign(t *testing.T, w *world) {
	namespace := w.namespace(t, "foreign")
	w.running(t, newPod(namespace, "first")) // the host namespace exists now
	hostNamespace := mapping.HostNamespace(tenantID, namespace)
	foreign := newPod(hostNamespace, "web")
	foreign.Labels = map[string]string{"owner": "somebody-else"}
	noToken := false
	foreign.Spec.AutomountServiceAccountToken = &noToken
	eventually(t, "make a foreign pod", func(ctx context.Context) error { return w.host.Create(ctx, foreign) })

	virtualPod := newPod(namespace, "web")
	create(t, w.tenant, virtualPod)
	w.eventOn(t, virtualPod, "NameTaken")
	current := &corev1.Pod{}
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(foreign), current); err != nil {
		t.Fatal(err)
	}
	if current.UID != foreign.UID || len(current.Annotations) != 0 || current.DeletionTimestamp != nil {
		t.Errorf("the foreign pod was touched: %+v", current.ObjectMeta)
	}
	if err := w.host.Delete(t.Context(), foreign, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	w.hostPod(t, virtualPod)
}

// testVanished: a host pod that somebody removed ends the tenant's pod as lost, once, and only that one.
func testVanished(t *testing.T, w *world) {
	namespace := w.namespace(t, "vanished")
	virtualPod := newPod(namespace, "web")
	virtualPod.Finalizers = []string{"example.test/keep"}
	virtualPod, hostPod := w.running(t, virtualPod)
	w.kubeletEnds(t, hostPod)
	ended := w.virtualPod(t, virtualPod, "ended", func(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	if ended.Status.Phase != corev1.PodFailed || ended.Status.Reason != "HostPodVanished" {
		t.Errorf("the pod ended as %s (%s)", ended.Status.Phase, ended.Status.Reason)
	}
	if !slices.ContainsFunc(ended.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget }) {
		t.Errorf("the pod does not say that it was disrupted: %+v", ended.Status.Conditions)
	}
	ended.Finalizers = nil
	if err := w.tenant.Update(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	w.gone(t, w.tenant, virtualPod)
}

// testVanishedHalfway: an agent that crashed after it wrote down that a pod vanished leaves the deletion to the next one.
func testVanishedHalfway(t *testing.T, w *world) {
	namespace := w.namespace(t, "vanished-halfway")
	virtualPod, hostPod := w.running(t, newPod(namespace, "web"))
	w.stop()
	w.kubeletEnds(t, hostPod)
	virtualPod.Status.Phase, virtualPod.Status.Reason = corev1.PodFailed, "HostPodVanished"
	if err := w.tenant.Status().Update(t.Context(), virtualPod); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.gone(t, w.tenant, virtualPod)
}

// testRemovedHalfway: an agent that is killed while it removes a pod leaves it with no grace and without anything that keeps it. The next one
// removes it.
func testRemovedHalfway(t *testing.T, w *world) {
	namespace := w.namespace(t, "removed-halfway")
	w.stop()
	virtualPod := w.removedHalfway(t, namespace)
	w.start(t)
	w.gone(t, w.tenant, virtualPod)
}

// removedHalfway gives up deletions without grace, each sooner or later, until one is half done. About every fifth is.
func (w *world) removedHalfway(t *testing.T, namespace string) *corev1.Pod {
	t.Helper()
	deleting := func(attempt int) *corev1.Pod {
		virtualPod := newPod(namespace, fmt.Sprintf("web-%d", attempt))
		virtualPod.Spec.NodeName = nodeName
		create(t, w.tenant, virtualPod)
		if err := w.tenant.Delete(t.Context(), virtualPod); err != nil {
			t.Fatal(err)
		}
		return virtualPod
	}
	var whole time.Duration // how long one takes that is not given up; that changes with what else the machine does
	for attempt := range 500 {
		virtualPod := deleting(attempt)
		if attempt%20 == 0 {
			began := time.Now()
			if err := w.tenant.Delete(t.Context(), virtualPod, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
			whole = time.Since(began)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(attempt%20)/20)
		_ = w.tenant.Delete(ctx, virtualPod, client.GracePeriodSeconds(0)) // it is given up
		cancel()
		// What the API server has begun to write it writes, and this read comes after it.
		err := w.tenant.Get(t.Context(), client.ObjectKeyFromObject(virtualPod), virtualPod)
		if err == nil && *virtualPod.DeletionGracePeriodSeconds == 0 {
			return virtualPod
		}
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no deletion was left half done")
	return nil
}

// testUnscheduledJob: the pod of a Job that has a node in the tenant and none on the host can be deleted. Its host pod has
// the agent's finalizer and never runs, so that nothing but the tenant's wish ends it.
func testUnscheduledJob(t *testing.T, w *world) {
	namespace := w.namespace(t, "unscheduled-job")
	job := newJob(namespace, "task")
	job.Spec.Template.Spec.NodeName = nodeName
	create(t, w.tenant, job)
	virtualPod := w.podOf(t, job)
	hostPod := w.hostPod(t, virtualPod)
	if !slices.Contains(hostPod.Finalizers, mapping.FinalizerTerminalStatus) {
		t.Fatalf("the finalizers of the host pod are %v", hostPod.Finalizers)
	}
	if err := w.tenant.Delete(t.Context(), virtualPod); err != nil {
		t.Fatal(err)
	}
	w.gone(t, w.host, hostPod)
	w.gone(t, w.tenant, virtualPod)
}

func newJob(namespace, name string) *batchv1.Job {
	task := newPod(namespace, name).Spec
	task.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: task}},
	}
}

// podOf waits for the one pod of a job.
func (w *world) podOf(t *testing.T, job *batchv1.Job) *corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	eventually(t, "pod of the job", func(ctx context.Context) error {
		if err := w.tenant.List(ctx, pods, client.InNamespace(job.Namespace)); err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return fmt.Errorf("there are %d", len(pods.Items))
		}
		return nil
	})
	return &pods.Items[0]
}

// testEviction: a host pod that is being deleted takes the tenant's pod along, with what is left of the grace.
func testEviction(t *testing.T, w *world) {
	namespace := w.namespace(t, "eviction")
	virtualPod, hostPod := w.running(t, newPod(namespace, "web"))
	began := time.Now()
	if err := w.host.Delete(t.Context(), hostPod, client.GracePeriodSeconds(20)); err != nil {
		t.Fatal(err)
	}
	deleting := w.virtualPod(t, virtualPod, "being deleted", func(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	if grace := *deleting.DeletionGracePeriodSeconds; grace < 18-int64(time.Since(began).Seconds()) || grace > 20 {
		t.Errorf("the grace is %d, want what is left of 20", grace)
	}
	w.kubeletEnds(t, hostPod)
	w.gone(t, w.tenant, virtualPod)
}

// testRefused: what the host refuses stays, with the reason.
func testRefused(t *testing.T, w *world) {
	namespace := w.namespace(t, "refused")
	virtualPod := newPod(namespace, "web")
	virtualPod.Spec.HostNetwork = true
	create(t, w.tenant, virtualPod)
	w.eventOn(t, virtualPod, "HostRejected")
	current := w.virtualPod(t, virtualPod, "pending", func(*corev1.Pod) bool { return true })
	if current.DeletionTimestamp != nil || current.Status.Phase != corev1.PodPending {
		t.Errorf("the refused pod is %s, deletion %v", current.Status.Phase, current.DeletionTimestamp)
	}
}

// testOrphan: a pod that the tenant removed while the agent was down leaves nothing on the host.
func testOrphan(t *testing.T, w *world) {
	namespace := w.namespace(t, "orphan")
	virtualPod, hostPod := w.running(t, newPod(namespace, "web"))
	w.stop()
	if err := w.tenant.Delete(t.Context(), virtualPod, client.GracePeriodSeconds(0)); err != nil {
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
	w.kubeletEnds(t, hostPod)
	w.gone(t, w.host, hostPod)
}

// testJob: the end of a Job's pod is not lost when the host removes it while the agent is down.
func testJob(t *testing.T, w *world) {
	namespace := w.namespace(t, "job")
	job := newJob(namespace, "task")
	create(t, w.tenant, job)
	virtualPod := w.podOf(t, job)
	hostPod := w.hostPod(t, virtualPod)
	w.schedule(t, hostPod)
	w.kubelet(t, hostPod, corev1.PodRunning)
	w.virtualPod(t, virtualPod, "ready", isReady)
	w.stop()
	w.kubelet(t, hostPod, corev1.PodSucceeded)
	w.kubeletEnds(t, hostPod)
	w.start(t)
	w.gone(t, w.host, hostPod)
	eventually(t, "job is complete", func(ctx context.Context) error {
		if err := w.tenant.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.Succeeded != 1 || job.Status.Failed != 0 {
			return fmt.Errorf("status %+v", job.Status)
		}
		return nil
	})
}

// testNamespaceEnds: the mapped namespace goes after the tenant's, and the tenant's waits for its pods' grace.
func testNamespaceEnds(t *testing.T, w *world) {
	namespace := w.namespace(t, "ends")
	virtualPod, hostPod := w.running(t, newPod(namespace, "web"))
	hostNamespace := &corev1.Namespace{}
	eventually(t, "the host namespace is labelled", func(ctx context.Context) error { // a moment after it is made
		if err := w.host.Get(ctx, client.ObjectKey{Name: mapping.HostNamespace(tenantID, namespace)}, hostNamespace); err != nil {
			return err
		}
		if hostNamespace.Labels[mapping.HostNamespaceLabel("team")] != "blue" || hostNamespace.Labels["pod-security.kubernetes.io/enforce"] != "baseline" {
			return fmt.Errorf("its labels are %v", hostNamespace.Labels)
		}
		return nil
	})
	virtualNamespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := w.tenant.Delete(t.Context(), virtualNamespace); err != nil {
		t.Fatal(err)
	}
	eventually(t, "host pod is being deleted", func(ctx context.Context) error {
		if err := w.host.Get(ctx, client.ObjectKeyFromObject(hostPod), hostPod); err != nil {
			return err
		}
		if hostPod.DeletionTimestamp == nil {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	if err := w.host.Get(t.Context(), client.ObjectKeyFromObject(hostNamespace), hostNamespace); err != nil || hostNamespace.DeletionTimestamp != nil {
		t.Fatalf("the host namespace went before its pods (%v)", err)
	}
	w.kubeletEnds(t, hostPod)
	w.gone(t, w.tenant, virtualPod)
	w.gone(t, w.host, hostNamespace)
}
