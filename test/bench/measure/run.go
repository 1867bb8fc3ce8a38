// Package measure takes the figures of the report, step by step.
//
// A step makes what it needs, measures, records, and removes what it made: steps can be run alone and in any order. Its
// invariants: what a watch can show is watched and not asked for again and again; every wait ends with the step's time; a step
// that fails tells so in its rows and does not keep the others from being taken.
package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/version"
	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

// Options say how much is measured.
type Options struct {
	// Runs of what takes seconds: create and delete.
	Runs int
	// Samples of what takes milliseconds: calls and pods.
	Samples int
	// Burst is how many pods are created at once.
	Burst int
	// IdleTenants are the numbers of tenants at which the agent is looked at, ascending. Zero tenants come first anyway.
	IdleTenants []int
	// Settle is how long virtual clusters are left alone before they count as idle; Window how long they are then measured.
	Settle, Window time.Duration
	// Quiet is how long to wait at most, before each step, until the machine has nothing else to do.
	Quiet time.Duration
	// Store of the virtual clusters.
	Store clusterv1alpha1.StoreType
	// Most is where the search for the number of virtual clusters ends.
	Most int
	// Scale is the run with many tenants.
	Scale Scale
	// Accounts is how many there are in the run with many of them.
	Accounts int
}

// Scale is how large the run with many tenants is.
type Scale struct {
	Tenants, Pods int
	// Rate is how many pods are created in a second, in all tenants together.
	Rate float64
	// Noise is how many pods the noisy tenant creates at once.
	Noise int
}

// Step takes the figures of some rows.
type Step struct {
	Name string
	// Rows are the IDs of what it measures.
	Rows []string
	// limit is how long it may take.
	limit time.Duration
	take  func(context.Context, *Bench) error
}

// Bench runs steps on a host.
type Bench struct {
	Host    *lab.Host
	Options Options
	Report  *report.Report
	// Log tells a person what goes on.
	Log func(format string, args ...any)

	// Of the step that runs.
	taken []report.Figure
}

// Names of all steps, those of Steps and the named ones.
func Names(steps []Step) []string {
	var names []string
	for _, step := range steps {
		names = append(names, step.Name)
	}
	return names
}

// Choose finds steps by their names, in the order in which they are to run. No name means all of them.
func Choose(steps []Step, names []string) ([]Step, error) {
	if len(names) == 0 {
		return steps, nil
	}
	known := Names(steps)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no step %q; the steps are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(steps), func(step Step) bool { return !slices.Contains(names, step.Name) }), nil
}

// Run takes the steps one after the other. The error names those that failed.
func (b *Bench) Run(ctx context.Context, steps []Step) error {
	var errs []error
	for _, step := range steps {
		if err := b.run(ctx, step); err != nil {
			b.Log("%s: %v", step.Name, err)
			errs = append(errs, fmt.Errorf("%s: %w", step.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (b *Bench) run(ctx context.Context, step Step) error {
	waited, err := b.awaitQuiet(ctx)
	if err != nil {
		return err
	}
	load, err := machine.LoadAverage()
	if err != nil {
		return err
	}
	b.Log("%s: begins at load %s, %s", step.Name, load, waited)
	before, err := machine.ReadTicks()
	if err != nil {
		return err
	}
	began := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, step.limit, fmt.Errorf("the step has not ended within %s", step.limit))
	defer cancel()
	b.taken = nil
	failure := step.take(limited, b)
	after, err := machine.ReadTicks()
	if err != nil {
		return errors.Join(failure, err)
	}
	b.Log("%s: took %s", step.Name, time.Since(began).Round(time.Second))
	b.keep(step, failure, fmt.Sprintf("load %s before, %.0f %% busy", load, 100*after.Busy(before)))
	return failure
}

// keep puts what the step has taken into the report, and its failure into the rows that it has not come to.
func (b *Bench) keep(step Step, failure error, load string) {
	for _, figure := range b.taken {
		if figure.Load == "" {
			figure.Load = load
		}
		figure.Taken, figure.Commit = time.Now().UTC(), short(version.Commit)
		b.Report.Add(figure)
	}
	if failure == nil {
		return
	}
	for _, row := range step.Rows {
		hasRow := func(figure report.Figure) bool { return figure.Row == row }
		if !slices.ContainsFunc(b.taken, hasRow) {
			b.Report.Add(report.Figure{Row: row, Problem: firstLine(failure), Taken: time.Now().UTC(), Commit: short(version.Commit)})
		}
	}
}

func short(commit string) string { return commit[:min(len(commit), 12)] }

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// record takes a figure into the report.
func (b *Bench) record(figure report.Figure) { b.taken = append(b.taken, figure) }

// stores says where both sides keep their objects.
func (b *Bench) stores() string { return fmt.Sprintf("tenant %s, host sqlite", b.Options.Store) }

// quiet is how busy the machine may be with the host and the measuring alone.
const quiet = 0.15

// awaitQuiet waits until what went before has died down, or for as long as the options allow.
func (b *Bench) awaitQuiet(ctx context.Context) (string, error) {
	look := min(3*time.Second, b.Options.Quiet)
	busy, err := machine.BusyFor(ctx, look)
	for deadline := time.Now().Add(b.Options.Quiet); err == nil && busy > quiet && time.Now().Before(deadline); {
		busy, err = machine.BusyFor(ctx, look)
	}
	return fmt.Sprintf("%.0f %% busy", 100*busy), err
}

func millisecondsOf(lags map[string]time.Duration) []float64 {
	values := make([]float64, 0, len(lags))
	for _, lag := range lags {
		values = append(values, milliseconds(lag))
	}
	return values
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
