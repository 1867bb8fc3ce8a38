package measure

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

// quietPods is how many pods the quiet tenant creates, one a second.
const quietPods = 60

// quietBesideNoisy measures one tenant alone, and again while another creates many pods at once.
func (b *Bench) quietBesideNoisy(ctx context.Context, quietOne, noisyOne *lab.Tenant) error {
	alone, err := b.quietRun(ctx, quietOne, "alone", func(context.Context) error { return nil })
	if err != nil {
		return err
	}
	beside, err := b.quietRun(ctx, quietOne, "beside", func(ctx context.Context) error {
		if err := newNamespace(ctx, noisyOne.Client, "noise"); err != nil {
			return err
		}
		noise := podLoad{count: b.Options.Scale.Noise, isSimulated: true}
		return noise.create(ctx, sides{virtualClient: noisyOne.Client, virtualNamespace: "noise"}, lab.NewLedger("the call"))
	})
	if err != nil {
		return err
	}
	b.recordQuiet(alone, beside)
	return nil
}

// quietRun creates pods in a namespace of their own while the noise is made.
func (b *Bench) quietRun(ctx context.Context, tenant *lab.Tenant, namespace string, noise func(context.Context) error) (times podTimes, err error) {
	if err := newNamespace(ctx, tenant.Client, namespace); err != nil {
		return times, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return noise(ctx) })
	group.Go(func() (err error) {
		load := podLoad{count: quietPods, perSecond: 1, isSimulated: true}
		times, err = load.run(ctx, sides{tenant.Client, b.Host.Client, namespace, mapping.HostNamespace(tenant.ID, namespace)})
		return err
	})
	return times, group.Wait()
}

// recordQuiet tells what a pod takes, and on which part of its way it waits for the noise.
func (b *Bench) recordQuiet(alone, beside podTimes) {
	size := b.Options.Scale
	note := fmt.Sprintf("%d tenants with %d pods there; the noise: %d pods at once", size.Tenants, size.Pods, size.Noise)
	between := func(from, to *lab.Ledger) report.Summary { return report.Summarise(secondsOf(to.Since(from))) }
	wholeAlone, whole := between(alone.created, alone.virtualReady), between(beside.created, beside.virtualReady)
	for _, row := range []struct {
		id      string
		summary report.Summary
	}{
		{report.ScaleQuiet, wholeAlone},
		{report.ScaleBeside, whole},
		{report.ScaleToHost, between(beside.created, beside.hostSeen)},
		{report.ScaleBound, between(beside.hostSeen, beside.hostBound)},
		{report.ScaleRuns, between(beside.hostBound, beside.hostReady)},
		{report.ScaleToHome, between(beside.hostReady, beside.virtualReady)},
		{report.ScaleQuietMore, report.Ratio(whole, wholeAlone)},
	} {
		b.record(report.Figure{Row: row.id, Summary: row.summary, Store: b.stores(), Tokens: "no tokens", Note: note})
	}
}
