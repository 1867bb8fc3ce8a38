package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// BenchmarkCreateToUsable measures from the creation of a VirtualCluster to each of the things that its owner waits for. The
// store is sqlite on a volume of the embedded host; images are present.
func BenchmarkCreateToUsable(b *testing.B) {
	ensureHostNamespace(b, shared, "figures")
	var kubeconfigs, answers, accounts []time.Duration
	for i := range b.N {
		name := "create-" + strconv.Itoa(i)
		kubeconfig, answer, account := createToUsable(b, name)
		kubeconfigs, answers, accounts = append(kubeconfigs, kubeconfig), append(answers, answer), append(accounts, account)
		b.StopTimer()
		shared.mustMatry(b, "delete", "vc", name, "-n", "figures")
		b.StartTimer()
	}
	b.ReportMetric(median(kubeconfigs).Seconds(), "s/kubeconfig")
	b.ReportMetric(median(answers).Seconds(), "s/ready")
	b.ReportMetric(median(accounts).Seconds(), "s/serviceaccount")
}

// createToUsable returns the times to: the kubeconfig is there; the API server answers /readyz through the front door; the
// default ServiceAccount exists, so that pods can be created.
func createToUsable(b *testing.B, name string) (kubeconfig, answer, account time.Duration) {
	b.Helper()
	host := shared.client(b)
	start := time.Now()
	shared.mustMatry(b, "create", "vc", name, "-n", "figures", "--wait=false")
	var client kubernetes.Interface
	within(b, func(ctx context.Context) error {
		secret, err := host.CoreV1().Secrets("figures").Get(ctx, name+"-kubeconfig", metav1.GetOptions{})
		if err != nil {
			return err
		}
		config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["config"])
		if err != nil {
			return err
		}
		client, err = kubernetes.NewForConfig(config)
		return err
	})
	kubeconfig = time.Since(start)
	within(b, func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	answer = time.Since(start)
	within(b, func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return kubeconfig, answer, time.Since(start)
}

// within polls faster than eventually does: what is measured takes a few seconds.
func within(b *testing.B, ask func(context.Context) error) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(createTimeout)
	for {
		err := ask(b.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("not within %s: %v", createTimeout, err)
		}
		<-tick.C
	}
}

func median(values []time.Duration) time.Duration {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkDelete measures until nothing of a virtual cluster without workloads is left on the host.
func BenchmarkDelete(b *testing.B) {
	ensureHostNamespace(b, shared, "figures")
	host := shared.client(b)
	for i := range b.N {
		name := "delete-" + strconv.Itoa(i)
		b.StopTimer()
		v := openTenant(b, shared, "figures", name, func() error {
			return shared.matry(b.Context(), "create", "vc", name, "-n", "figures").err
		})
		b.StartTimer()
		shared.mustMatry(b, "delete", "vc", name, "-n", "figures")
		within(b, func(ctx context.Context) error {
			_, err := host.CoreV1().Namespaces().Get(ctx, mapping.ControlNamespace(v.id), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("the control namespace is still there (%w)", err)
		})
	}
}

// idleFor is how long a control plane is left alone before, and while, it is measured.
const idleFor = 30 * time.Second

// BenchmarkIdleControlPlane measures the private memory and the CPU of a control plane without work. Run it with -benchtime=1x.
func BenchmarkIdleControlPlane(b *testing.B) {
	v := newTenant(b, shared, "figures", "idle")
	pid := controlPlaneProcess(b, v)
	for range b.N {
		pause(b, idleFor)
		before := cpuTime(b, pid)
		pause(b, idleFor)
		used := cpuTime(b, pid) - before
		b.ReportMetric(float64(used.Milliseconds())/idleFor.Seconds(), "millicores")
		b.ReportMetric(float64(anonymousMemory(b, pid))/(1<<20), "MiB/RssAnon")
	}
}

// pause lets time pass: a machine at rest cannot be recognised by a condition.
func pause(b *testing.B, length time.Duration) {
	b.Helper()
	select {
	case <-time.After(length):
	case <-b.Context().Done():
		b.Fatal(b.Context().Err())
	}
}

func controlPlaneProcess(b *testing.B, v *tenant) int {
	b.Helper()
	pod, err := v.host.client(b).CoreV1().Pods(mapping.ControlNamespace(v.id)).Get(b.Context(), "controlplane-0", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	pids, err := processesOfPod(pod.UID, "controlplane")
	if err != nil {
		b.Fatal(err)
	}
	if len(pids) != 1 {
		b.Fatalf("the control plane has the processes %v, want one", pids)
	}
	return pids[0]
}

// anonymousMemory is memory that the process shares with nobody and that is in no file, in bytes.
func anonymousMemory(b *testing.B, pid int) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "RssAnon:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatalf("the kernel does not tell the RssAnon of process %d", pid)
	return 0
}

// cpuTime is what the process has used of all CPUs so far.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// The name in parentheses may contain spaces; what is wanted are fields 14 and 15, in hundredths of a second.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
