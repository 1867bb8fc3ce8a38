package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

var lifecycleRows = []string{report.CreateUsable, report.CreateAPI, report.DeletePods, report.DeleteObjects, report.DeleteAll}

// lifecycle creates and deletes virtual clusters one after the other: there is never more than one.
func lifecycle(ctx context.Context, b *Bench) error {
	values := map[string][]float64{}
	add := func(row string, took time.Duration) { values[row] = append(values[row], took.Seconds()) }
	last := ""
	for i := range b.Options.Runs {
		tenant, err := b.Host.Create(ctx, fmt.Sprintf("lifecycle-%d", i), b.Options.Store)
		if err != nil {
			return err
		}
		add(report.CreateUsable, tenant.Times.Usable())
		add(report.CreateAPI, tenant.Times.API)
		begin, ends, err := b.timedDelete(ctx, tenant)
		if err != nil {
			return err
		}
		add(report.DeletePods, ends.Pods.Sub(begin))
		add(report.DeleteObjects, ends.Objects.Sub(begin))
		add(report.DeleteAll, ends.All.Sub(begin))
		last = ends.Last
	}
	for row, note := range map[string]string{
		report.CreateUsable: "", report.CreateAPI: "through the front door", report.DeletePods: "without workloads",
		report.DeleteObjects: "without workloads; last to go: " + last, report.DeleteAll: "without workloads",
	} {
		b.record(report.Figure{Row: row, Summary: report.Summarise(values[row]), Store: b.stores(), Note: note})
	}
	return nil
}

// timedDelete deletes a virtual cluster and tells when it began and when what was gone.
func (b *Bench) timedDelete(ctx context.Context, tenant *lab.Tenant) (begin time.Time, ends lab.Ends, err error) {
	watching, ctx := lab.NewWatching(ctx)
	defer watching.Stop()
	remains, err := b.Host.FollowRemains(ctx, watching, tenant.ID)
	if err != nil {
		return begin, ends, err
	}
	begin = time.Now()
	if err := b.Host.BeginDelete(ctx, tenant); err != nil {
		return begin, ends, err
	}
	ends, err = remains.Wait(ctx)
	return begin, ends, err
}
