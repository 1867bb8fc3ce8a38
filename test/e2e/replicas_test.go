package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/virtualcluster"
)

// lossTakes is how long a tenant may be without service when a replica of the agent is lost: ten seconds until another one
// has taken over, and what a pod takes then on a busy machine.
const lossTakes = 15 * time.Second

// Two replicas of the agent share the virtual clusters. When one is lost without a word, as with its node, the other one
// takes over; what it served before is not disturbed. The test is not parallel: it scales the agent of the shared host, whose
// virtual clusters change hands by that.
func TestReplicasOfTheAgent(t *testing.T) {
	hello, second := demo(t), newTenant(t, shared, "e2e", "second")
	both := map[string]*tenant{"hello": hello, "second": second}
	for _, v := range both {
		v.servedBy(t, "")
	}
	t.Cleanup(func() { scaleAgent(t, 1) })
	scaleAgent(t, 2)
	hostPods := map[string]typedcorev1.PodInterface{} // made before time counts, since each takes a command
	for name, v := range both {
		hostPods[name] = v.hostPods(t)
		eventually(t, startTimeout, func(ctx context.Context) error { return v.place(ctx, hostPods[name], "before") })
		t.Logf("%s is served by %s", name, v.servedBy(t, ""))
	}
	lost := hello.servedBy(t, "")
	if hello.shard(t) != second.shard(t) { // the one who had both gives one of them away
		eventually(t, startTimeout, func(context.Context) error {
			if lost = hello.servedBy(t, ""); second.servedBy(t, "") == lost {
				return fmt.Errorf("both are served by %s", lost)
			}
			return nil
		})
	}

	pid := processOf(t, lost)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil { // it can hand nothing over
		t.Fatal(err)
	}
	begin := time.Now()
	shared.mustMatry(t, "kubectl", "delete", "pod", "-n", systemNamespace, lost, "--force", "--grace-period=0")
	results := make(chan error, len(both))
	for name, v := range both {
		go func() { results <- v.placedAfter(t, begin, hostPods[name]) }()
	}
	if err := errors.Join(<-results, <-results); err != nil {
		t.Fatal(err)
	}
	for _, v := range both {
		if by := v.servedBy(t, lost); by == lost {
			t.Errorf("the condition names %s still", by)
		}
		// The doors: a connection of the control plane to the lost replica must not be what a Service or a log waits for.
		v.mustKubectl(t, "apply", "-n", "default", "-f", manifestFile(t, testdata(t, "shell.yaml")))
		v.podReady(t, "default", "shell")
		v.mustKubectl(t, "exec", "shell", "--", "true")
		if got := v.mustKubectl(t, "get", "service", "shell", "-o", "jsonpath={.spec.clusterIP}"); got == "" {
			t.Error("the Service has no address")
		}
		v.mustKubectl(t, "delete", "pod/shell", "service/shell", "pod/before", "pod/after", "--grace-period=1")
	}
}

const systemNamespace = "matryoshka-system"

// scaleAgent waits until exactly so many replicas are ready, and no others are ending.
func scaleAgent(t *testing.T, replicas int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cliTimeout)
	defer cancel()
	deployment := "deployment/" + virtualcluster.AgentName
	for _, args := range [][]string{
		{"scale", deployment, "--replicas", strconv.Itoa(replicas)},
		{"rollout", "status", deployment},
	} {
		if err := shared.matry(ctx, append([]string{"kubectl", "-n", systemNamespace}, args...)...).err; err != nil {
			t.Fatal(err)
		}
	}
	// The rollout has ended while a replica that is one too many hands over.
	if err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		seen := shared.matry(ctx, "kubectl", "-n", systemNamespace, "get", "pods", "-l", "app.kubernetes.io/name="+virtualcluster.AgentName, "-o", "name")
		return seen.err == nil && strings.Count(seen.stdout, "\n") == replicas, nil
	}); err != nil {
		t.Fatalf("there are not %d pods of the agent: %v", replicas, err)
	}
}

// servedBy is the replica that the condition Synced names, when that is another one than before.
func (v *tenant) servedBy(t *testing.T, before string) (replica string) {
	t.Helper()
	eventually(t, startTimeout, func(ctx context.Context) error {
		seen := v.host.matry(ctx, "kubectl", "get", "virtualcluster", v.name, "-n", v.namespace, "-o", `jsonpath={.status.conditions[?(@.type=="Synced")].message}`)
		if seen.err != nil {
			return seen.err
		}
		_, name, ok := strings.Cut(seen.stdout, ", on ")
		if replica = name; !ok || replica == before {
			return fmt.Errorf("the condition Synced says %q", seen.stdout)
		}
		return nil
	})
	return replica
}

// shard is the one that the virtual cluster is in.
func (v *tenant) shard(t *testing.T) int {
	t.Helper()
	return shards.Of(types.UID(v.host.mustMatry(t, "kubectl", "get", "virtualcluster", v.name, "-n", v.namespace, "-o", "jsonpath={.metadata.uid}")))
}

// placedAfter waits for a pod no longer than the loss of a replica may take.
func (v *tenant) placedAfter(t *testing.T, loss time.Time, hostPods typedcorev1.PodInterface) error {
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, lossTakes-time.Since(loss), true, func(ctx context.Context) (bool, error) {
		last = v.place(ctx, hostPods, "after")
		return last == nil, nil
	})
	took := time.Since(loss).Round(time.Millisecond)
	if err != nil || took > lossTakes {
		return errors.Join(fmt.Errorf("%s is without service for %s after the loss of the replica, want %s at most", v.name, took, lossTakes), err, last)
	}
	t.Logf("a pod of %s has a node %s after the loss of the replica", v.name, took)
	return nil
}

// hostPods are the pods of the namespace "default" as they are on the host.
func (v *tenant) hostPods(t *testing.T) typedcorev1.PodInterface {
	t.Helper()
	return v.host.client(t).CoreV1().Pods(mapping.HostNamespace(v.id, "default"))
}

// place makes a pod when there is none, and fails until it has a node, which is what the sync gives it when it is on the host. It
// is for being called again: calls that go by a replica that is lost end without an answer.
func (v *tenant) place(ctx context.Context, hostPods typedcorev1.PodInterface, name string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			Containers:                    []corev1.Container{{Name: "pause", Image: withImages("IMAGE(busybox)"), Command: []string{"sleep", "600"}}},
		},
	}
	calling, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	seen, err := v.client.CoreV1().Pods("default").Get(calling, name, metav1.GetOptions{})
	if err != nil {
		creating, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, createErr := v.client.CoreV1().Pods("default").Create(creating, pod, metav1.CreateOptions{})
		return fmt.Errorf("get the pod: %w; create it: %w", err, createErr)
	}
	if seen.Spec.NodeName == "" {
		return fmt.Errorf("pod %q has no node: %s", name, describe(seen))
	}
	looking, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = hostPods.Get(looking, name, metav1.GetOptions{})
	return err
}

// processOf finds the process of a replica by its command line.
func processOf(t *testing.T, replica string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(line), "\x00--replica="+replica+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("no process runs as replica %s", replica)
	return 0
}
