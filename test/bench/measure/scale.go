package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
	"github.com/matryoshka-dev/matryoshka/test/bench/simulated"
)

var scaleRows = []string{
	report.ScaleReady, report.ScaleFairness, report.ScaleRate, report.ScaleAgentCPU, report.ScaleAgentMem,
	report.ScaleQuiet, report.ScaleBeside, report.ScaleQuietMore,
}

// scale runs many pods in many tenants, and then a quiet tenant beside a noisy one.
func scale(ctx context.Context, b *Bench) (err error) {
	size := b.Options.Scale
	if size.Tenants < 2 {
		return errors.New("a run with many tenants needs two of them or more")
	}
	// Two nodes more than would do: the scheduler spreads, it does not fill.
	nodes, err := simulated.Start(ctx, b.Host.Client, (size.Pods+size.Noise)/simulated.PodsPerNode+2, readyAfter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.Stop()) }()
	var tenants []*lab.Tenant
	defer func() { err = errors.Join(err, b.remove(tenants...)) }()
	for len(tenants) < size.Tenants {
		more, err := b.tenants(ctx, "scale", len(tenants), min(len(tenants)+batch, size.Tenants))
		tenants = append(tenants, more...)
		if err != nil {
			return err
		}
		b.Log("scale: %d tenants", len(tenants))
	}
	if err := prepare(ctx, tenants); err != nil {
		return err
	}
	if err := b.manyPods(ctx, tenants); err != nil {
		return err
	}
	return b.quietBesideNoisy(ctx, tenants[0], tenants[1])
}

// prepare makes the namespace of the pods in every tenant.
func prepare(ctx context.Context, tenants []*lab.Tenant) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(burstClients)
	for _, tenant := range tenants {
		group.Go(func() error { return newNamespace(ctx, tenant.Client, podNamespace) })
	}
	return group.Wait()
}

// tenantPods is what was seen of the pods of one tenant.
type tenantPods struct {
	tenant         *lab.Tenant
	created, ready *lab.Ledger
}

func (b *Bench) manyPods(ctx context.Context, tenants []*lab.Tenant) (err error) {
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	all := make([]tenantPods, len(tenants))
	for index, tenant := range tenants {
		all[index] = tenantPods{tenant, lab.NewLedger("the call"), lab.NewLedger("the Ready pod")}
		if err := followReady(ctx, watching, tenant.Client, podNamespace, all[index].ready); err != nil {
			return err
		}
	}
	agent, err := b.agent(ctx)
	if err != nil {
		return err
	}
	usedBefore, err := agent.CPU()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := createEvenly(ctx, all, b.Options.Scale); err != nil {
		return err
	}
	for index, each := range all {
		if err := each.ready.WaitForCount(ctx, evenly(b.Options.Scale.Pods, len(all), index)); err != nil {
			return fmt.Errorf("tenant %q: %w", each.tenant.Name, err)
		}
	}
	took := time.Since(begin)
	usedAfter, err := agent.CPU()
	if err != nil {
		return err
	}
	private, err := agent.Private()
	if err != nil {
		return err
	}
	b.recordMany(all, took, usedAfter-usedBefore, private)
	return nil
}

// evenly is how many of so many pods the tenant with this index gets.
func evenly(pods, tenants, index int) int {
	count := pods / tenants
	if index < pods%tenants {
		count++
	}
	return count
}

// createEvenly creates one pod after the other, each in the next tenant.
func createEvenly(ctx context.Context, all []tenantPods, size Scale) error {
	load := podLoad{isSimulated: true}
	group, ctx := errgroup.WithContext(ctx)
	err := paced(ctx, size.Pods, size.Rate, func(number int) {
		each := all[number%len(all)]
		name := fmt.Sprintf("pod-%d", number)
		group.Go(func() error {
			each.created.Mark(name, time.Now())
			return load.createOne(ctx, each.tenant.Client, podNamespace, name)
		})
	})
	return errors.Join(err, group.Wait())
}

func (b *Bench) recordMany(all []tenantPods, took, agentCPU time.Duration, agentPrivate int64) {
	var lags, ofEach []float64
	for _, each := range all {
		own := secondsOf(each.ready.Since(each.created))
		lags = append(lags, own...)
		ofEach = append(ofEach, report.Summarise(own).P99)
	}
	size := b.Options.Scale
	what := fmt.Sprintf("%d tenants, %d pods, %.0f created per second", size.Tenants, size.Pods, size.Rate)
	single := func(row string, value float64) {
		b.record(report.Figure{Row: row, Summary: report.Summarise([]float64{value}), Store: b.stores(), Tokens: "no tokens", Note: what})
	}
	b.record(report.Figure{Row: report.ScaleReady, Summary: report.Summarise(lags), Store: b.stores(), Tokens: "no tokens", Note: what})
	single(report.ScaleFairness, slices.Max(ofEach)/report.Summarise(ofEach).Median)
	single(report.ScaleRate, float64(len(lags))/took.Seconds())
	single(report.ScaleAgentCPU, float64(agentCPU)/float64(took)*1000)
	single(report.ScaleAgentMem, float64(agentPrivate)/(1<<20))
}

func secondsOf(lags map[string]time.Duration) []float64 {
	values := make([]float64, 0, len(lags))
	for _, lag := range lags {
		values = append(values, lag.Seconds())
	}
	return values
}

// quietPods is how many pods the quiet tenant creates, one a second.
const quietPods = 60

// quietBesideNoisy measures one tenant alone, and again while another creates many pods at once.
func (b *Bench) quietBesideNoisy(ctx context.Context, quietOne, noisyOne *lab.Tenant) error {
	alone, err := b.quietLags(ctx, quietOne, "alone", nil)
	if err != nil {
		return err
	}
	beside, err := b.quietLags(ctx, quietOne, "beside", func(ctx context.Context) error {
		if err := newNamespace(ctx, noisyOne.Client, "noise"); err != nil {
			return err
		}
		noise := podLoad{count: b.Options.Scale.Noise, isSimulated: true}
		return noise.create(ctx, sides{virtualClient: noisyOne.Client, virtualNamespace: "noise"}, lab.NewLedger("the call"))
	})
	if err != nil {
		return err
	}
	note := fmt.Sprintf("%d tenants with %d pods there; the noise: %d pods at once", b.Options.Scale.Tenants, b.Options.Scale.Pods, b.Options.Scale.Noise)
	for _, row := range []struct {
		id      string
		summary report.Summary
	}{
		{report.ScaleQuiet, alone}, {report.ScaleBeside, beside}, {report.ScaleQuietMore, report.Ratio(beside, alone)},
	} {
		b.record(report.Figure{Row: row.id, Summary: row.summary, Store: b.stores(), Tokens: "no tokens", Note: note})
	}
	return nil
}

// quietLags creates pods in a namespace of their own while noise, if there is any, makes its own.
func (b *Bench) quietLags(ctx context.Context, tenant *lab.Tenant, namespace string, noise func(context.Context) error) (summary report.Summary, err error) {
	if err := newNamespace(ctx, tenant.Client, namespace); err != nil {
		return summary, err
	}
	pods := tenantPods{tenant, lab.NewLedger("the call"), lab.NewLedger("the Ready pod")}
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	if err := followReady(ctx, watching, tenant.Client, namespace, pods.ready); err != nil {
		return summary, err
	}
	group, ctx := errgroup.WithContext(ctx)
	if noise != nil {
		group.Go(func() error { return noise(ctx) })
	}
	load := podLoad{count: quietPods, perSecond: 1, isSimulated: true}
	group.Go(func() error {
		err := load.create(ctx, sides{virtualClient: tenant.Client, virtualNamespace: namespace}, pods.created)
		return errors.Join(err, pods.ready.WaitForCount(ctx, quietPods))
	})
	if err := group.Wait(); err != nil {
		return summary, err
	}
	return report.Summarise(secondsOf(pods.ready.Since(pods.created))), nil
}
