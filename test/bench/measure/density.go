package measure

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

const (
	// batch is how many virtual clusters are added before the machine is looked at.
	batch = 10
	// least is the memory that a machine needs to be still of use, and busiest how busy it may be although nobody does anything.
	least   = 1 << 30
	busiest = 0.9
)

// density adds virtual clusters until the machine is full, and counts those that are awake then: that answer.
func density(ctx context.Context, b *Bench) (err error) {
	before, err := machine.Available()
	if err != nil {
		return err
	}
	var tenants []*lab.Tenant
	defer func() { err = errors.Join(err, b.remove(tenants...)) }()
	why, busy := "", 0.0
	for why == "" {
		if why, busy, err = b.addBatch(ctx, &tenants); err != nil {
			return err
		}
	}
	after, err := machine.Available()
	if err != nil {
		return err
	}
	if err := allAnswer(ctx, tenants); err != nil {
		return err
	}
	awake := len(tenants)
	note := fmt.Sprintf("ended because %s; at the end %.0f %% of the machine busy, %.1f GiB of memory available", why, 100*busy, float64(after)/(1<<30))
	b.record(report.Figure{Row: report.Awake, Summary: report.Summarise([]float64{float64(awake)}), Store: b.stores(), Note: note})
	if awake > 0 {
		each := float64(before-after) / (1 << 20) / float64(awake)
		b.record(report.Figure{Row: report.AwakeMemory, Summary: report.Summarise([]float64{each}), Store: b.stores(), Note: "what MemAvailable fell by"})
	}
	return nil
}

// addBatch tells, when the machine is full or there are as many as asked for, why no more are added.
func (b *Bench) addBatch(ctx context.Context, tenants *[]*lab.Tenant) (why string, busy float64, err error) {
	count := len(*tenants)
	more, createErr := b.tenants(ctx, "density", count, min(count+batch, b.Options.Most))
	*tenants = append(*tenants, more...)
	if ctx.Err() != nil {
		return "", 0, context.Cause(ctx)
	}
	available, err := machine.Available()
	if err != nil {
		return "", 0, err
	}
	// What the start of a batch leaves to be done is not what idle ones do.
	if err := machine.Pause(ctx, b.Options.Window/2); err != nil {
		return "", 0, err
	}
	if busy, err = machine.BusyFor(ctx, b.Options.Window/2); err != nil {
		return "", 0, err
	}
	b.Log("density: %d virtual clusters, %.0f %% busy, %.1f GiB available", len(*tenants), 100*busy, float64(available)/(1<<30))
	switch {
	case createErr != nil:
		why = "the next one did not become usable: " + firstLine(createErr)
	case available < least:
		why = "less than 1 GiB of memory was left"
	case busy > busiest:
		why = fmt.Sprintf("the machine was more than %.0f %% busy", 100*busiest)
	case len(*tenants) >= b.Options.Most:
		why = "as many as asked for were there"
	}
	return why, busy, nil
}

func allAnswer(ctx context.Context, tenants []*lab.Tenant) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(burstClients)
	for _, tenant := range tenants {
		group.Go(func() error {
			if err := tenant.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
				return fmt.Errorf("virtual cluster %q does not answer: %w", tenant.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}
