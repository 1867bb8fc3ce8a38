package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A virtual cluster sleeps and gives its room to others; a connection through the front door wakes it, and is served. All that it
// ran comes back: the same pods, on the same nodes, with their volumes.
func TestVirtualClusterSleepsAndWakes(t *testing.T) {
	t.Parallel()
	v := newTenant(t, shared, "e2e-sleep", "sleeper")
	const namespace = "default"
	v.apply(t, namespace, testdata(t, "statefulset.yaml"))
	v.apply(t, namespace, testdata(t, "sleep.yaml"))
	v.podReady(t, namespace, "db-1")
	v.podReady(t, namespace, "bare")
	v.mustKubectl(t, "rollout", "status", "deployment/web", "--timeout=5m")
	v.mustKubectl(t, "exec", "db-0", "--", "sh", "-c", "echo kept > /data/kept; sync")
	v.podReady(t, namespace, v.onlyPod(t, namespace, "job-name=long").Name) // it has noted its first life
	before := v.pods(t, namespace)

	v.patchSleep(t, `{"force":"Asleep"}`)
	v.awaitPhase(t, "Asleep")
	// It may be called asleep while pods that take long still end.
	eventually(t, startTimeout, func(context.Context) error {
		if left := shared.mustMatry(t, "kubectl", "get", "pods", "-A", "-l", "matryoshka.dev/virtual-cluster-id="+v.id, "-o", "name"); left != "" {
			return fmt.Errorf("it sleeps, and these pods are on the host:\n%s", left)
		}
		return nil
	})
	claims := shared.mustMatry(t, "kubectl", "get", "persistentvolumeclaims", "-A", "-l", "matryoshka.dev/virtual-cluster-id="+v.id, "-o", "name")
	if got := strings.Count(claims, "\n"); got != 4 {
		t.Errorf("there are %d claims on the host, want those of db-0, db-1, the Job and the store:\n%s", got, claims)
	}
	var refused result
	if err := untilAnswered(t.Context(), cliTimeout, func(ctx context.Context) error {
		refused = v.kubectl(ctx, "get", "pods")
		return refused.err
	}); err == nil || !strings.Contains(refused.stderr, "access denied") {
		t.Errorf("a connection to one that is kept asleep: %v, want a refusal", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), cliTimeout)
	defer cancel()
	connect := []string{"connect", "virtualcluster", "sleeper", "-n", "e2e-sleep", "--", "kubectl", "get", "pods"}
	if seen := shared.matry(ctx, connect...); seen.err == nil || !strings.Contains(seen.stderr, "matry wake virtualcluster sleeper -n e2e-sleep") {
		t.Errorf("matry connect to one that is kept asleep: %v %s, want how it wakes", seen.err, seen.stderr)
	}

	// What a schedule has put to sleep is woken by a connection.
	v.patchSleep(t, `{"force":"Awake"}`)
	v.awaitPhase(t, "Awake")
	v.cameBack(t, namespace, before, 1)
	// Once, in a minute that begins after the schedule is read: one of every minute would end the waking of a busy machine.
	at := time.Now().UTC().Add(150 * time.Second)
	v.patchSleep(t, fmt.Sprintf(`{"force":null,"schedule":{"sleep":"%d %d * * *","timeZone":"UTC"}}`, at.Minute(), at.Hour()))
	v.awaitPhase(t, "Asleep")
	start := time.Now()
	// kubectl itself waits ten seconds for the handshake and no longer; on a busy machine waking can take more, and people ask again.
	eventually(t, startTimeout, func(ctx context.Context) error {
		if seen := v.kubectl(ctx, "get", "--raw", "/version"); seen.err != nil {
			return fmt.Errorf("%w: %s", seen.err, seen.stderr)
		}
		return nil
	})
	t.Logf("a sleeping virtual cluster answered %s after somebody connected", time.Since(start).Round(10*time.Millisecond))
	v.patchSleep(t, `{"force":"Awake"}`)

	v.cameBack(t, namespace, before, 2)
	if after := v.pods(t, namespace); len(after) != len(before) {
		t.Errorf("there are %d pods after waking, were %d", len(after), len(before))
	}
	if got := v.mustRead(t, "db-0", "--", "cat", "/data/kept"); got != "kept\n" {
		t.Errorf("the volume holds %q", got)
	}
	answered(t, v, namespace, "db-1", "db-0.db", "db-0")
	eventually(t, startTimeout, func(ctx context.Context) error {
		long, err := v.client.BatchV1().Jobs(namespace).Get(ctx, "long", metav1.GetOptions{})
		if err == nil && (long.Status.Succeeded != 1 || long.Status.Failed != 0) {
			err = fmt.Errorf("the Job's status is %+v", long.Status)
		}
		return err
	})
}

// A space sleeps with all that is in it, real workloads and a virtual cluster, and what was there comes back when it wakes.
func TestSpaceSleepsAndWakes(t *testing.T) {
	t.Parallel()
	const space = "e2e-sleepy"
	newSpace(t, space, "{}")
	shared.mustApply(t, withImages(testdata(t, "space.yaml")), "-n", space)
	shared.mustMatry(t, "kubectl", "rollout", "status", "deployment/web", "-n", space, "--timeout=5m")
	v := newTenant(t, shared, space, "inner")
	v.apply(t, "default", testdata(t, "shell.yaml"))
	v.podReady(t, "default", "shell")

	shared.mustMatry(t, "sleep", "space", space, "--wait", "--timeout", waitTimeout.String())
	v.awaitPhase(t, "Asleep")
	eventually(t, startTimeout, func(context.Context) error {
		running := shared.mustMatry(t, "kubectl", "get", "pods", "-n", space, "-l", "app=web", "-o", "name")
		mapped := shared.mustMatry(t, "kubectl", "get", "pods", "-A", "-l", "matryoshka.dev/virtual-cluster-id="+v.id, "-o", "name")
		if running+mapped != "" {
			return fmt.Errorf("the space sleeps, and these pods run:\n%s%s", running, mapped)
		}
		return nil
	})
	if got := shared.mustMatry(t, "kubectl", "get", "cronjob/tick", "-n", space, "-o", "jsonpath={.spec.suspend}"); got != "true" {
		t.Errorf("the CronJob's suspend is %q while its space sleeps", got)
	}

	shared.mustMatry(t, "wake", "space", space, "--wait", "--timeout", waitTimeout.String())
	v.awaitPhase(t, "Awake")
	shared.mustMatry(t, "kubectl", "rollout", "status", "deployment/web", "-n", space, "--timeout=5m")
	if got := shared.mustMatry(t, "kubectl", "get", "deployment/web", "cronjob/tick", "-n", space, "-o", "jsonpath={.items[*].spec.replicas} {.items[*].spec.suspend}"); got != "2 false" {
		t.Errorf("replicas and suspend are %q after waking, were 2 and false", got)
	}
	v.podReady(t, "default", "shell")
}

// cameBack waits until the pods run again after so many sleeps, where and as what they were.
func (v *tenant) cameBack(t *testing.T, namespace string, before map[string]corev1.Pod, sleeps int32) {
	t.Helper()
	for name, pod := range before {
		if strings.HasPrefix(name, "long-") {
			continue
		}
		// At first they look as they did when it fell asleep.
		var after *corev1.Pod
		eventually(t, startTimeout, func(ctx context.Context) error {
			after = v.podReady(t, namespace, name)
			if got := after.Status.ContainerStatuses[0].RestartCount; got < pod.Status.ContainerStatuses[0].RestartCount+sleeps {
				return fmt.Errorf("pod %s has been restarted %d times, was %d before it slept %d times", name, got, pod.Status.ContainerStatuses[0].RestartCount, sleeps)
			}
			return nil
		})
		if after.UID != pod.UID || after.Spec.NodeName != pod.Spec.NodeName {
			t.Errorf("pod %s came back as %s on %q, was %s on %q", name, after.UID, after.Spec.NodeName, pod.UID, pod.Spec.NodeName)
		}
	}
}

func (v *tenant) pods(t *testing.T, namespace string) map[string]corev1.Pod {
	t.Helper()
	list, err := v.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		pods[pod.Name] = pod
	}
	return pods
}

func (v *tenant) patchSleep(t *testing.T, sleep string) {
	t.Helper()
	v.host.mustMatry(t, "kubectl", "patch", "virtualcluster", v.name, "-n", v.namespace, "--type", "merge", "-p", `{"spec":{"sleep":`+sleep+`}}`)
}

func (v *tenant) awaitPhase(t *testing.T, phase string) {
	t.Helper()
	eventually(t, 6*time.Minute, func(ctx context.Context) error {
		seen := v.host.matry(ctx, "kubectl", "get", "virtualcluster", v.name, "-n", v.namespace, "-o", "jsonpath={.status.sleep.phase}")
		if seen.err == nil && seen.stdout != phase {
			return fmt.Errorf("the phase is %q, want %q", seen.stdout, phase)
		}
		return seen.err
	})
}
