package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/hostpace"
)

// TestOperation uses one pair of API servers for what operators see and set of the engine.
func TestOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics = prometheus.NewRegistry()
	w.pace = hostpace.New(hostpace.Options{Step: 10 * time.Millisecond})
	w.interfere(t, client.ObjectKey{Namespace: mapping.HostNamespace(w.tenant.ID, "measured"), Name: "web"})
	w.run(t)
	t.Run("metrics", func(t *testing.T) { testMetrics(t, w) })
	t.Run("pace", func(t *testing.T) { testPace(t, w) })
}

// testMetrics: what an operator looks at counts what happens between two real API servers.
func testMetrics(t *testing.T, w *world) {
	hostNamespace := w.namespace(t, "measured")
	hostKey := client.ObjectKey{Namespace: hostNamespace, Name: "web"}
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

// interfere makes the first change that the agent writes to a Service come second: somebody else has been faster.
func (w *world) interfere(t *testing.T, hostKey client.ObjectKey) {
	t.Helper()
	var interfered atomic.Bool
	w.agentConfig = rest.CopyConfig(w.agentConfig)
	w.agentConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodPatch && strings.HasSuffix(request.URL.Path, "/"+hostKey.Namespace+"/services/"+hostKey.Name) && interfered.CompareAndSwap(false, true) {
				faster := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"somebody":"else"}}}`))
				if err := w.host.Patch(context.Background(), named(&corev1.Service{}, hostKey), faster); err != nil {
					t.Errorf("be faster than the agent: %v", err)
				}
			}
			return next.RoundTrip(request)
		})
	})
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
