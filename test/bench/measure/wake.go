package measure

import (
	"context"

	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

var wakeRows = []string{report.Wake}

// wake puts one virtual cluster to sleep and wakes it, time and again.
func wake(ctx context.Context, b *Bench) error {
	tenant, err := b.Host.Create(ctx, "sleeper", b.Options.Store)
	if err != nil {
		return err
	}
	var values []float64
	for range b.Options.Runs {
		if err := b.Host.Sleep(ctx, tenant); err != nil {
			return err
		}
		took, err := b.Host.Wake(ctx, tenant)
		if err != nil {
			return err
		}
		values = append(values, took.Seconds())
	}
	b.record(report.Figure{
		Row: report.Wake, Summary: report.Summarise(values), Store: b.stores(),
		Note: "without workloads; from taking the force off, asked through the front door",
	})
	_, _, err = b.timedDelete(ctx, tenant)
	return err
}
