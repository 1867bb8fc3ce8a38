package engine

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one engine. The labels never name a tenant: their number would have no bound.
type metrics struct {
	waited   *prometheus.HistogramVec
	worked   *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, depth, tenantCount func() float64) (*metrics, error) {
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 16)
	m := &metrics{
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matryoshka_sync_queue_seconds", Help: "Time a key waited for a worker.", Buckets: buckets,
		}, []string{"kind"}),
		worked: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matryoshka_sync_work_seconds", Help: "Time a key was worked on.", Buckets: buckets,
		}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_sync_errors_total", Help: "Keys that ended in an error, by cause: refused, race, panic or other.",
		}, []string{"kind", "cause"}),
	}
	collectors := []prometheus.Collector{
		m.waited, m.worked, m.failures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "matryoshka_sync_queue_depth", Help: "Keys that wait for a worker."}, depth),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "matryoshka_sync_tenants", Help: "Virtual clusters that are served."}, tenantCount),
	}
	for _, collector := range collectors {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}
