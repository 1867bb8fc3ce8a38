package pod_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// testLatency prints how long pods with tokens take from being created in the tenant to being on the host, one after
// the other and in a burst. It fails only if they do not come at all: the times are the machine's.
func testLatency(t *testing.T, w *world) {
	namespace := w.namespace(t, "latency")
	w.running(t, newPod(namespace, "first"))
	watcher, err := client.NewWithWatch(w.hostConfig, client.Options{Scheme: w.host.Scheme(), Mapper: w.host.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	hostPods, err := watcher.Watch(t.Context(), &corev1.PodList{}, client.InNamespace(mapping.HostNamespace(tenantID, namespace)))
	if err != nil {
		t.Fatal(err)
	}
	defer hostPods.Stop()
	seen := map[string]time.Time{}
	await := func(name string) time.Time {
		for {
			if at, ok := seen[name]; ok {
				return at
			}
			select {
			case event := <-hostPods.ResultChan():
				if hostPod, ok := event.Object.(*corev1.Pod); ok && seen[hostPod.Name].IsZero() {
					seen[hostPod.Name] = time.Now()
				}
			case <-time.After(patience):
				t.Fatalf("host pod %s does not come", name)
			}
		}
	}
	var single, burst []time.Duration
	for index := range 25 {
		name := fmt.Sprintf("single-%d", index)
		started := time.Now()
		create(t, w.tenant, newPod(namespace, name))
		single = append(single, await(name).Sub(started))
	}
	const size = 100
	started := make([]time.Time, size)
	created := make(chan error, size)
	for index := range size {
		go func() {
			started[index] = time.Now()
			created <- w.tenant.Create(context.WithoutCancel(t.Context()), newPod(namespace, fmt.Sprintf("burst-%d", index)))
		}()
	}
	for range size {
		if err := <-created; err != nil {
			t.Fatal(err)
		}
	}
	for index := range size {
		burst = append(burst, await(fmt.Sprintf("burst-%d", index)).Sub(started[index]))
	}
	for name, times := range map[string][]time.Duration{"one after the other": single, "burst of 100": burst} {
		slices.Sort(times)
		t.Logf("%s, created in the tenant → on the host: p50 %s, p99 %s", name, times[len(times)/2], times[len(times)*99/100])
	}
}
