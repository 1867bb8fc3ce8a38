// Package metrics shows what there is of accounts: how many, their spaces, how much of their limits and quotas is used.
//
// It reads the agent's caches when it is asked and keeps nothing. Each replica of the agent shows what is in its shards, so that the sum
// over all of them is what there is. Its labels name accounts and their quotas, which admins make; nothing that members make is
// a label. How often the controllers fail is among the metrics of their library.
package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// readTimeout bounds a look into the caches; before they are filled there is nothing to show.
const readTimeout = 5 * time.Second

// Options of the metrics.
type Options struct {
	// Cached reads what the agent watches.
	Cached client.Reader
	// Shards tell which accounts and spaces are this replica's.
	Shards     shards.Shares
	Registerer prometheus.Registerer
}

// Register adds the metrics.
func Register(options Options) error {
	for _, one := range options.gauges() {
		if err := options.Registerer.Register(one); err != nil {
			return fmt.Errorf("register %s: %w", one.description, err)
		}
	}
	return nil
}

func (o Options) gauges() []*Gauge {
	gauge := func(name, help string, labels []string, read func(context.Context, *Gauge, chan<- prometheus.Metric)) *Gauge {
		return &Gauge{description: prometheus.NewDesc(name, help, labels, nil), read: read}
	}
	return []*Gauge{
		gauge("matryoshka_accounts", "Accounts, by state: ready, suspended or unready.", []string{"state"}, o.accounts),
		gauge("matryoshka_spaces", "Spaces, by state: ready, asleep, unready or terminating.", []string{"state"}, o.spaces),
		gauge("matryoshka_account_used", "What counts against an account's limits: spaces, virtualclusters, or virtualclusters that are running.", []string{"account", "counted"}, o.used),
		gauge("matryoshka_account_limit", "The limits of an account; what is not limited is not there.", []string{"account", "counted"}, o.limits),
		gauge("matryoshka_account_quota_used", "What an account uses of a quota.", []string{"account", "quota", "resource"}, o.quotas(func(status *tenancyv1alpha1.AccountQuotaStatus) corev1.ResourceList { return status.Used })),
		gauge("matryoshka_account_quota_hard", "What an account may use by a quota.", []string{"account", "quota", "resource"}, o.quotas(func(status *tenancyv1alpha1.AccountQuotaStatus) corev1.ResourceList { return status.Hard })),
	}
}

// Gauge is a metric that is read when it is asked for.
type Gauge struct {
	description *prometheus.Desc
	read        func(context.Context, *Gauge, chan<- prometheus.Metric)
}

// Describe implements prometheus.Collector.
func (g *Gauge) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- g.description }

// Collect implements prometheus.Collector.
func (g *Gauge) Collect(values chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	g.read(ctx, g, values)
}

func (g *Gauge) show(values chan<- prometheus.Metric, value float64, labels ...string) {
	values <- prometheus.MustNewConstMetric(g.description, prometheus.GaugeValue, value, labels...)
}

// isOwn tells whether an object is shown by this replica.
func (o Options) isOwn(ctx context.Context, uid types.UID) bool {
	_, leave, ok := o.Shards.Enter(ctx, uid)
	if ok {
		leave()
	}
	return ok
}

func (o Options) ownAccounts(ctx context.Context) []*tenancyv1alpha1.Account {
	var list tenancyv1alpha1.AccountList
	if err := o.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var own []*tenancyv1alpha1.Account
	for index := range list.Items {
		if o.isOwn(ctx, list.Items[index].UID) {
			own = append(own, &list.Items[index])
		}
	}
	return own
}

func (o Options) accounts(ctx context.Context, gauge *Gauge, values chan<- prometheus.Metric) {
	count := map[string]float64{"ready": 0, "suspended": 0, "unready": 0}
	for _, account := range o.ownAccounts(ctx) {
		switch {
		case account.Spec.Suspended:
			count["suspended"]++
		case apimeta.IsStatusConditionTrue(account.Status.Conditions, tenancyv1alpha1.ConditionReady):
			count["ready"]++
		default:
			count["unready"]++
		}
	}
	for state, number := range count {
		gauge.show(values, number, state)
	}
}

func (o Options) spaces(ctx context.Context, gauge *Gauge, values chan<- prometheus.Metric) {
	count := map[string]float64{"ready": 0, "asleep": 0, "unready": 0, "terminating": 0}
	var list tenancyv1alpha1.SpaceList
	if err := o.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for index := range list.Items {
		if space := &list.Items[index]; o.isOwn(ctx, space.UID) {
			count[stateOf(space)]++
		}
	}
	for state, number := range count {
		gauge.show(values, number, state)
	}
}

func stateOf(space *tenancyv1alpha1.Space) string {
	switch {
	case !space.DeletionTimestamp.IsZero():
		return "terminating"
	case apimeta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionAsleep):
		return "asleep"
	case apimeta.IsStatusConditionTrue(space.Status.Conditions, tenancyv1alpha1.ConditionReady):
		return "ready"
	default:
		return "unready"
	}
}

// What counts against limits, as values of the label counted.
const (
	countedSpaces  = "spaces"
	countedAll     = "virtualclusters"
	countedRunning = "running"
)

func (o Options) used(ctx context.Context, gauge *Gauge, values chan<- prometheus.Metric) {
	for _, account := range o.ownAccounts(ctx) {
		for counted, number := range map[string]int32{
			countedSpaces: account.Status.Spaces, countedAll: account.Status.VirtualClusters, countedRunning: account.Status.RunningVirtualClusters,
		} {
			gauge.show(values, float64(number), account.Name, counted)
		}
	}
}

func (o Options) limits(ctx context.Context, gauge *Gauge, values chan<- prometheus.Metric) {
	for _, account := range o.ownAccounts(ctx) {
		for counted, limit := range map[string]*int32{
			countedSpaces: account.Spec.Spaces.Limit, countedAll: account.Spec.VirtualClusters.Limit, countedRunning: account.Spec.VirtualClusters.RunningLimit,
		} {
			if limit != nil {
				gauge.show(values, float64(*limit), account.Name, counted)
			}
		}
	}
}

func (o Options) quotas(part func(*tenancyv1alpha1.AccountQuotaStatus) corev1.ResourceList) func(context.Context, *Gauge, chan<- prometheus.Metric) {
	return func(ctx context.Context, gauge *Gauge, values chan<- prometheus.Metric) {
		var list tenancyv1alpha1.AccountQuotaList
		if err := o.Cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return
		}
		for index := range list.Items {
			quota := &list.Items[index]
			if !o.isOwn(ctx, quota.UID) {
				continue
			}
			for resource, amount := range part(&quota.Status) {
				gauge.show(values, amount.AsApproximateFloat64(), quota.Spec.Account, quota.Name, string(resource))
			}
		}
	}
}
