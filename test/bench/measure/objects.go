package measure

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

var objectRows = []string{report.ServiceFloor, report.ServiceCall, report.ServiceLag, report.ConfigMapLag}

const objectNamespace = "bench-objects"

// objects measures what is not a pod: Services, which the host gives their addresses, and ConfigMaps, which pods use.
func objects(ctx context.Context, b *Bench) error {
	if err := newNamespace(ctx, b.Host.Client, objectNamespace); err != nil {
		return err
	}
	defer b.dropHostNamespace(objectNamespace)
	floor, err := createServices(ctx, b.Host.Client, "service", b.Options.Samples, nil)
	if err != nil {
		return fmt.Errorf("on the host: %w", err)
	}
	b.record(report.Figure{Row: report.ServiceFloor, Summary: report.Summarise(floor), Store: "host sqlite"})
	return b.withTenant(ctx, "objects", func(ctx context.Context, tenant *lab.Tenant) error {
		if err := newNamespace(ctx, tenant.Client, objectNamespace); err != nil {
			return err
		}
		if err := b.services(ctx, tenant); err != nil {
			return err
		}
		return b.configMaps(ctx, tenant)
	})
}

// createServices makes Services one after the other and tells how long each call took, in milliseconds.
func createServices(ctx context.Context, side kubernetes.Interface, prefix string, count int, calls *lab.Ledger) ([]float64, error) {
	var took []float64
	for i := range count {
		name := fmt.Sprintf("%s-%d", prefix, i)
		object := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "none"}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
		begin := time.Now()
		if _, err := side.CoreV1().Services(objectNamespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("create Service %q: %w", name, err)
		}
		took = append(took, milliseconds(time.Since(begin)))
		if calls != nil {
			calls.Mark(name, begin)
		}
	}
	return took, nil
}

func (b *Bench) services(ctx context.Context, tenant *lab.Tenant) (err error) {
	// The first one makes the mapped namespace: it is not what a Service takes.
	if _, err := createServices(ctx, tenant.Client, "first", 1, nil); err != nil {
		return err
	}
	hostNamespace := mapping.HostNamespace(tenant.ID, objectNamespace)
	calls, seen, synced := lab.NewLedger("the call"), lab.NewLedger("the host Service"), lab.NewLedger("the synced host Service")
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	hostServices := lab.Objects(b.Host.Client, "services", &corev1.Service{}, hostNamespace, "")
	err = watching.Add(ctx, hostServices, func(what watch.EventType, object runtime.Object, at time.Time) {
		service, ok := object.(*corev1.Service)
		if !ok || what == watch.Deleted || !strings.HasPrefix(service.Name, "service-") {
			return
		}
		// What the call reserved has no selector yet; the sync gives it.
		if seen.Mark(service.Name, at); service.Annotations[mapping.AnnotationReservedUntil] == "" {
			synced.Mark(service.Name, at)
		}
	})
	if err != nil {
		return err
	}
	took, err := createServices(ctx, tenant.Client, "service", b.Options.Samples, calls)
	if err != nil {
		return err
	}
	if err := synced.WaitForCount(ctx, b.Options.Samples); err != nil {
		return err
	}
	b.record(report.Figure{Row: report.ServiceCall, Summary: report.Summarise(took), Store: b.stores()})
	b.record(report.Figure{
		Row: report.ServiceLag, Summary: report.Summarise(millisecondsOf(synced.Since(calls))), Store: b.stores(),
		Note: fmt.Sprintf("taken over by the sync; reserved after p50 %.1f ms", report.Summarise(millisecondsOf(seen.Since(calls))).Median),
	})
	return nil
}

// configMaps changes a ConfigMap that a pod refers to, one change after the other has come to the host.
func (b *Bench) configMaps(ctx context.Context, tenant *lab.Tenant) (err error) {
	const name, key = "used", "number"
	maps := tenant.Client.CoreV1().ConfigMaps(objectNamespace)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{key: "none"}}
	if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create ConfigMap %q: %w", name, err)
	}
	seen := lab.NewLedger("the host's copy with change")
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	hostMaps := lab.Objects(b.Host.Client, "configmaps", &corev1.ConfigMap{}, mapping.HostNamespace(tenant.ID, objectNamespace), name)
	err = watching.Add(ctx, hostMaps, func(_ watch.EventType, object runtime.Object, at time.Time) {
		if hostMap, ok := object.(*corev1.ConfigMap); ok {
			seen.Mark(hostMap.Data[key], at)
		}
	})
	if err != nil {
		return err
	}
	if _, err := tenant.Client.CoreV1().Pods(objectNamespace).Create(ctx, userOf(name), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create a pod that uses the ConfigMap: %w", err)
	}
	if _, err := seen.WaitFor(ctx, "none"); err != nil {
		return err
	}
	var lags []float64
	for i := range b.Options.Samples {
		begin := time.Now()
		patch := fmt.Appendf(nil, `{"data":{%q:"%d"}}`, key, i)
		if _, err := maps.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("patch ConfigMap %q: %w", name, err)
		}
		at, err := seen.WaitFor(ctx, strconv.Itoa(i))
		if err != nil {
			return err
		}
		lags = append(lags, milliseconds(at.Sub(begin)))
	}
	b.record(report.Figure{Row: report.ConfigMapLag, Summary: report.Summarise(lags), Store: b.stores()})
	return nil
}

// userOf is a pod whose only purpose is that it refers to a ConfigMap.
func userOf(configMap string) *corev1.Pod {
	pod := newPod("user", false)
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{
		ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap}},
	}}
	return pod
}
