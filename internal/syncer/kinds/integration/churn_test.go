package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// counted is config with the bytes counted that are sent in writes.
func counted(config *rest.Config) (*rest.Config, *atomic.Int64) {
	sent := &atomic.Int64{}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(request *http.Request) (*http.Response, error) {
			if request.Method != http.MethodGet {
				sent.Add(max(request.ContentLength, 0))
			}
			return next.RoundTrip(request)
		})
	})
	return config, sent
}

// TestChurn: a tenant that changes large objects in a loop does not make the agent write without bounds, and what it has written
// at last is on the host soon after.
func TestChurn(t *testing.T) {
	t.Parallel()
	const large = 200 << 10
	w := newWorld(t)
	w.preparePods(t)
	w.writes = engine.WriteShare{PerSecond: 100, Burst: 200, BytesPerSecond: 64 << 10, BurstBytes: 512 << 10}
	config, sent := counted(w.agentConfig)
	w.reachBy(t, config, w.tenant.VirtualConfig)
	w.run(t)
	create(t, w.virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web"}})
	await(t, w.virtual, client.ObjectKey{Namespace: "web", Name: "default"}, &corev1.ServiceAccount{}, func(*corev1.ServiceAccount) error { return nil })
	configMap := create(t, w.virtual, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "large"}})
	virtualPod := newWebPod("large")
	virtualPod.Spec.Volumes = []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap.Name}}}},
		// What the pod sees of itself is in a Secret on the host.
		{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}},
		}}}},
	}
	create(t, w.virtual, virtualPod)
	await(t, w.virtual, client.ObjectKeyFromObject(virtualPod), virtualPod, func(pod *corev1.Pod) error {
		return expect(pod.Status.Phase == corev1.PodRunning, "it is %s", pod.Status.Phase)
	})

	before, began := sent.Load(), time.Now()
	// Whoever works at the moment when the share is used up is not stopped.
	most := func() int64 {
		return int64(w.writes.BurstBytes+w.writes.BytesPerSecond*time.Since(began).Seconds()) + 6*large
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var asked atomic.Int64
	var group sync.WaitGroup
	churn := func(object client.Object, patch func(round int) string) {
		group.Go(func() {
			for round := 0; ctx.Err() == nil && asked.Load() < 3*most(); round++ {
				target, _ := object.DeepCopyObject().(client.Object)
				err := w.virtual.Patch(ctx, target, client.RawPatch(types.MergePatchType, []byte(patch(round))))
				if err != nil && ctx.Err() == nil {
					t.Errorf("change %T: %v", object, err)
					return
				}
				asked.Add(large)
			}
		})
	}
	content := func(round int) string { return fmt.Sprintf("%d-%s", round, strings.Repeat("x", large)) }
	churn(virtualPod, func(round int) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{"note":%q,"prometheus.io/port":"%d"}}}`, content(round), round)
	})
	churn(configMap, func(round int) string { return fmt.Sprintf(`{"data":{"x":%q}}`, content(round)) })
	group.Wait()
	written := sent.Load() - before
	t.Logf("the tenant wrote %d MiB in %s, the agent %d MiB", asked.Load()>>20, time.Since(began), written>>20)
	if written > most() {
		t.Errorf("the agent wrote %d bytes, want at most %d", written, most())
	}
	if asked.Load() < 2*most() {
		t.Errorf("the tenant wrote %d bytes only, which shows nothing", asked.Load())
	}
	last := ""
	change(t, w.virtual, configMap, func(object *corev1.ConfigMap) {
		last = "last"
		object.Data = map[string]string{"x": last}
	})
	hostNamespace := mapping.HostNamespace(w.tenant.ID, "web")
	await(t, w.host, client.ObjectKey{Namespace: hostNamespace, Name: mapping.HostName("ConfigMap", configMap.Name)}, &corev1.ConfigMap{}, func(object *corev1.ConfigMap) error {
		return expect(object.Data["x"] == last, "it has %d bytes", len(object.Data["x"]))
	})
}
