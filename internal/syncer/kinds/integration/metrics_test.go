package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestMetrics: what an operator looks at counts what happens between two real API servers.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics = prometheus.NewRegistry()
	hostNamespace := w.namespace(t, "measured")
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
	// The first change of the Service that the agent writes comes second: somebody else has been faster.
	var interfered atomic.Bool
	w.agentConfig = rest.CopyConfig(w.agentConfig)
	w.agentConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodPut && strings.HasSuffix(request.URL.Path, "/services/web") && interfered.CompareAndSwap(false, true) {
				change(t, w.host, named(&corev1.Service{}, hostKey), func(hostService *corev1.Service) {
					hostService.Annotations["somebody"] = "else"
				})
			}
			return next.RoundTrip(request)
		})
	})
	w.run(t)

	virtualService := create(t, w.virtual, newService("measured", "web", "10.96.70.1", func(service *corev1.Service) {
		service.Spec.Type = corev1.ServiceTypeLoadBalancer
		service.Spec.Ports[0].NodePort = 31701
	}))
	hostService := await(t, w.host, hostKey, &corev1.Service{}, exists)
	w.awaitMetric(t, `matryoshka_sync_lag_seconds{direction="down",kind="service"}`, 1)

	changeStatus(t, w.host, hostService, func(hostService *corev1.Service) {
		hostService.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.5"}}
	})
	w.awaitMetric(t, `matryoshka_sync_lag_seconds{direction="up",kind="service"}`, 1)

	for _, family := range []string{"conflicts", "repairs"} {
		if found := w.gather(t, "matryoshka_sync_"+family); len(found) != 0 {
			t.Errorf("%s are counted although nobody has touched the copy: %v", family, found)
		}
	}
	change(t, w.virtual, virtualService, func(virtualService *corev1.Service) { virtualService.Spec.Selector["app"] = "shop" })
	await(t, w.host, hostKey, hostService, func(hostService *corev1.Service) error {
		return expect(hostService.Spec.Selector["app"] == "shop", "selector = %v", hostService.Spec.Selector)
	})
	w.awaitMetric(t, `matryoshka_sync_conflicts_total{kind="service",side="host"}`, 1)
	w.seen(t, hostService)

	change(t, w.host, hostService, func(hostService *corev1.Service) { hostService.Spec.Selector = map[string]string{"app": "evil"} })
	await(t, w.host, hostKey, hostService, func(hostService *corev1.Service) error {
		return expect(hostService.Spec.Selector["app"] == "shop", "selector = %v", hostService.Spec.Selector)
	})
	w.awaitMetric(t, `matryoshka_sync_repairs_total{found="changed",kind="service"}`, 1)

	remove(t, w.host, hostService)
	await(t, w.host, hostKey, &corev1.Service{}, func(again *corev1.Service) error {
		return expect(again.UID != hostService.UID, "not made again")
	})
	w.awaitMetric(t, `matryoshka_sync_repairs_total{found="deleted",kind="service"}`, 1)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func named[T client.Object](object T, key client.ObjectKey) T {
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	return object
}

// awaitMetric waits until a series has at least a value: for a histogram, so many observations.
func (w *world) awaitMetric(t *testing.T, series string, least float64) {
	t.Helper()
	eventually(t, series, func() error {
		family, _, _ := strings.Cut(series, "{")
		found := w.gather(t, family)
		return expect(found[series] >= least, "%v of %v", found[series], found)
	})
}

// gather returns the series whose name begins with a prefix: the values of counters and gauges, and the counts of histograms.
func (w *world) gather(t *testing.T, prefix string) map[string]float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), prefix) {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			found[family.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return found
}
