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
	report.ScaleToHost, report.ScaleBound, report.ScaleRuns, report.ScaleToHome,
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
