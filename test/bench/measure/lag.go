package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
	"github.com/matryoshka-dev/matryoshka/test/bench/simulated"
)

// readyAfter is how long a simulated node takes for a pod.
const readyAfter = 500 * time.Millisecond

const perSecond = 5

// podNamespace is that of the pods, on the side that creates them.
const podNamespace = "bench-pods"

func steadyRows() []string {
	return []string{
		report.PodRow(report.PodsSteadyFloor, report.ToHost),
		report.PodRow(report.PodsSteady, report.ToHost), report.PodRow(report.PodsSteady, report.ReadyToHome),
		report.PodRow(report.PodsSteadyReal, report.ToHost), report.PodRow(report.PodsSteadyReal, report.ReadyToHome),
	}
}

func burstRows() []string {
	return []string{
		report.PodRow(report.PodsBurstFloor, report.ToHost),
		report.PodRow(report.PodsBurstSimulated, report.ToHost), report.PodRow(report.PodsBurstSimulated, report.ReadyToHome),
		report.PodRow(report.PodsBurst, report.ToHost), report.PodRow(report.PodsBurst, report.ReadyToHome),
	}
}

func steadyPods(ctx context.Context, b *Bench) error {
	steady := podLoad{count: b.Options.Samples, perSecond: perSecond, isSimulated: true}
	onRealNode := steady
	onRealNode.isSimulated = false
	return b.podLags(ctx, report.PodsSteadyFloor, steady, []namedLoad{{report.PodsSteady, steady}, {report.PodsSteadyReal, onRealNode}})
}

func burstPods(ctx context.Context, b *Bench) error {
	floor := podLoad{count: b.Options.Burst, isSimulated: true}
	burst := podLoad{count: b.Options.Burst, isSimulated: true, tokens: true}
	onRealNode := burst
	onRealNode.isSimulated = false
	return b.podLags(ctx, report.PodsBurstFloor, floor, []namedLoad{{report.PodsBurstSimulated, burst}, {report.PodsBurst, onRealNode}})
}

type namedLoad struct {
	row  string
	load podLoad
}

// podLags takes the floor on the host alone, and then the loads in a tenant.
func (b *Bench) podLags(ctx context.Context, floorRow string, floor podLoad, loads []namedLoad) (err error) {
	nodes, err := simulated.Start(ctx, b.Host.Client, 1, readyAfter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.Stop()) }()
	alone := sides{b.Host.Client, b.Host.Client, podNamespace, podNamespace}
	if err := b.podLag(ctx, floorRow, floor, alone, "host sqlite", report.ToHost); err != nil {
		return fmt.Errorf("on the host: %w", err)
	}
	return b.withTenant(ctx, "pods", func(ctx context.Context, tenant *lab.Tenant) error {
		between := sides{tenant.Client, b.Host.Client, podNamespace, mapping.HostNamespace(tenant.ID, podNamespace)}
		for _, each := range loads {
			if err := b.podLag(ctx, each.row, each.load, between, b.stores(), report.ToHost, report.ReadyToHome); err != nil {
				return err
			}
		}
		return nil
	})
}

// podLag runs one load in a namespace of its own and records what is asked for.
func (b *Bench) podLag(ctx context.Context, row string, load podLoad, between sides, stores string, what ...string) (err error) {
	if err := newNamespace(ctx, between.virtualClient, between.virtualNamespace); err != nil {
		return err
	}
	defer func() {
		// The next load takes the same names: it must find nothing, on the host neither.
		for _, drop := range []func() error{
			func() error { return dropNamespace(ctx, between.virtualClient, between.virtualNamespace) },
			func() error { return awaitNoNamespace(ctx, between.hostClient, between.hostNamespace) },
		} {
			err = errors.Join(err, drop())
		}
	}()
	// The first pod of a namespace makes the mapped one and its node's mirror: that is not what a pod takes.
	if err := b.warmUp(ctx, load, between); err != nil {
		return fmt.Errorf("a first pod: %w", err)
	}
	times, err := load.run(ctx, between)
	if err != nil {
		return err
	}
	tokens := "no tokens"
	if load.tokens {
		tokens = "tokens"
	}
	for _, each := range what {
		lags := times.hostSeen.Since(times.created)
		if each == report.ReadyToHome {
			lags = times.virtualReady.Since(times.hostReady)
		}
		b.record(report.Figure{Row: report.PodRow(row, each), Summary: report.Summarise(millisecondsOf(lags)), Store: stores, Tokens: tokens})
	}
	b.Log("%s: done", row)
	return nil
}

// warmUp creates one pod, waits until it is Ready, and removes it.
func (b *Bench) warmUp(ctx context.Context, load podLoad, between sides) (err error) {
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	ready := lab.NewLedger("the Ready pod")
	if err := followReady(ctx, watching, between.virtualClient, between.virtualNamespace, ready); err != nil {
		return err
	}
	const name = "first"
	if err := load.createOne(ctx, between.virtualClient, between.virtualNamespace, name); err != nil {
		return err
	}
	if _, err := ready.WaitFor(ctx, name); err != nil {
		return err
	}
	return dropPod(ctx, between, name)
}
