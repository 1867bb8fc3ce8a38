package engine

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Values of the labels direction, of the lag, and of what was found, of repairs.
const (
	directionDown = "down"
	directionUp   = "up"
	repairChanged = "changed"
	repairDeleted = "deleted"
)

// metrics of one engine. The labels never name a tenant: their number would have no bound.
type metrics struct {
	lag       *prometheus.HistogramVec
	waited    *prometheus.HistogramVec
	worked    *prometheus.HistogramVec
	failures  *prometheus.CounterVec
	conflicts *prometheus.CounterVec
	repairs   *prometheus.CounterVec
	breakers  prometheus.Counter
	rests     prometheus.Counter
}

// gauges are what the metrics read when somebody asks.
type gauges struct {
	depth, tenants, blocked, unanswered, parked, resting, throttled, calls func() float64
}

func newMetrics(registerer prometheus.Registerer, read gauges) (*metrics, error) {
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 16)
	m := &metrics{
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matryoshka_sync_lag_seconds",
			Help: "Time from when the agent's watch showed a change until the last write that it led to was answered: down from the virtual cluster to the host, up from the host to the virtual cluster. " +
				"Waiting and repeating are in it, refused objects are not; nor is the way from the API server to the agent, since objects carry whole seconds only.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"kind", "direction"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matryoshka_sync_queue_seconds", Help: "Time a key waited for a worker.", Buckets: buckets,
		}, []string{"kind"}),
		worked: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "matryoshka_sync_work_seconds", Help: "Time a key was worked on.", Buckets: buckets,
		}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_sync_errors_total", Help: "Keys that ended in an error, by cause: refused, race, throttled, unanswered, contested, panic or other.",
		}, []string{"kind", "cause"}),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_sync_conflicts_total",
			Help: "Writes that came too late because somebody else had written the object, by the side that was written to: host or virtual.",
		}, []string{"kind", "side"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "matryoshka_sync_repairs_total",
			Help: "Host copies that somebody had changed or deleted on the host and that were put back, by what was found: changed or deleted.",
		}, []string{"kind", "found"}),
		breakers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "matryoshka_sync_breaker_openings_total",
			Help: "How often the agent stopped asking a virtual cluster's API server for a while because it did not answer.",
		}),
		rests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "matryoshka_sync_rests_total",
			Help: "How often a virtual cluster was not served for a while because it had made the agent write more to the host than its share.",
		}),
	}
	collectors := []prometheus.Collector{
		m.lag, m.waited, m.worked, m.failures, m.conflicts, m.repairs, m.breakers, m.rests,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "matryoshka_sync_queue_depth", Help: "Keys that wait for a worker."}, read.depth),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "matryoshka_sync_tenants", Help: "Virtual clusters that are served."}, read.tenants),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "matryoshka_sync_tenants_blocked", Help: "Virtual clusters that are left alone for now because their API server does not answer.",
		}, read.blocked),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "matryoshka_sync_keys_unanswered",
			Help: "Keys that wait apart from the others because their virtual cluster's API server did not answer in time when they were last tried.",
		}, read.unanswered),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "matryoshka_sync_tenants_resting",
			Help: "Virtual clusters that are not served for now because they have made the agent write more to the host than their share.",
		}, read.resting),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "matryoshka_sync_workers_parked",
			Help: "Keys that are worked on beside the workers that all virtual clusters share, because an API server of a virtual cluster keeps them waiting.",
		}, read.parked),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "matryoshka_sync_host_throttled_total", Help: "Calls that the host's API server turned away because it has too many requests (429).",
		}, read.throttled),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "matryoshka_sync_host_calls_limit", Help: "How many calls to the host may run at once: less after calls were turned away, more again as they are needed and taken.",
		}, read.calls),
	}
	for _, collector := range collectors {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}
