package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// A write that the tenant's API server has acknowledged is there after the control plane was killed, at whatever moment.
func TestNoAcknowledgedWriteIsLost(t *testing.T) {
	t.Parallel()
	v := newTenant(t, shared, "e2e-durable", "durable")
	writers := startWriters(t, v, 4)
	for _, kill := range []func(testing.TB, *tenant){killControlPlane, removeControlPlane, killControlPlane} {
		writers.waitForMore(t, 50)
		kill(t, v)
	}
	writers.waitForMore(t, 50)
	acknowledged := writers.stop()

	stored, err := v.client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{LabelSelector: "written=yes"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]types.UID{}
	for _, configMap := range stored.Items {
		found[configMap.Name] = configMap.UID
	}
	for name, uid := range acknowledged {
		if found[name] != uid {
			t.Errorf("write %q was acknowledged with UID %s; stored is %q", name, uid, found[name])
		}
	}
	t.Logf("%d acknowledged writes, none lost over 3 kills", len(acknowledged))
}

// writers create ConfigMaps as fast as they can and remember which were acknowledged.
type writers struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu           sync.Mutex
	acknowledged map[string]types.UID
}

func startWriters(t *testing.T, v *tenant, n int) *writers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writers{cancel: cancel, acknowledged: map[string]types.UID{}}
	t.Cleanup(func() { w.stop() })
	for writer := range n {
		w.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				w.write(ctx, v, fmt.Sprintf("write-%d-%d", writer, i))
			}
		})
	}
	return w
}

func (w *writers) write(ctx context.Context, v *tenant, name string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"written": "yes"}},
		Data:       map[string]string{"name": name},
	}
	created, err := v.client.CoreV1().ConfigMaps("default").Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		// Not acknowledged: it may be stored or not. While the control plane is away, do not spin.
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acknowledged[name] = created.UID
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

func (w *writers) waitForMore(t *testing.T, n int) {
	t.Helper()
	wanted := w.count() + n
	eventually(t, startTimeout, func(context.Context) error {
		if got := w.count(); got < wanted {
			return fmt.Errorf("%d writes are acknowledged, want %d", got, wanted)
		}
		return nil
	})
}

func (w *writers) stop() map[string]types.UID {
	w.cancel()
	w.done.Wait()
	return w.acknowledged
}

// killControlPlane kills the process of a virtual cluster's control plane as the kernel does when memory is short.
func killControlPlane(t testing.TB, v *tenant) {
	t.Helper()
	for _, pid := range controlPlaneProcesses(t, v) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
	}
}

// controlPlaneProcesses finds the process of a virtual cluster's control plane.
func controlPlaneProcesses(t testing.TB, v *tenant) (pids []int) {
	t.Helper()
	// One that was removed by force still writes while its successor has no process yet.
	host := v.host.client(t)
	eventually(t, startTimeout, func(ctx context.Context) error {
		pod, err := host.CoreV1().Pods(mapping.ControlNamespace(v.id)).Get(ctx, "controlplane-0", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pids, err = processesOfPod(pod.UID, "controlplane"); err != nil {
			return err
		}
		if len(pids) == 0 {
			return fmt.Errorf("no process of pod %s is found", pod.UID)
		}
		return nil
	})
	return pids
}

// removeControlPlane removes the pod of a virtual cluster's control plane without asking it: its successor may start while
// it still writes.
func removeControlPlane(t testing.TB, v *tenant) {
	t.Helper()
	zero := int64(0)
	err := v.host.client(t).CoreV1().Pods(mapping.ControlNamespace(v.id)).Delete(t.Context(), "controlplane-0", metav1.DeleteOptions{GracePeriodSeconds: &zero})
	if err != nil {
		t.Fatal(err)
	}
}

// processesOfPod finds the processes in the cgroups of a pod whose command line has a word in it.
func processesOfPod(uid types.UID, word string) ([]int, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	// The systemd driver of cgroups writes '_' where the UID has '-'.
	marks := []string{string(uid), strings.ReplaceAll(string(uid), "-", "_")}
	var pids []int
	for _, folder := range folders {
		cgroup, err := os.ReadFile(filepath.Join(folder, "cgroup"))
		if err != nil || !containsAny(string(cgroup), marks) {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || !bytes.Contains(cmdline, []byte(word)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
