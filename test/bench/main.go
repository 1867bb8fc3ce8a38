// Command bench measures the product against its budgets, on an embedded host of its own, and prints one table of them.
//
// It must run as root, on a machine that does nothing else. Figures are kept in a file and survive until they are taken
// again, so that parts can be measured one by one; see docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/matryoshka-dev/matryoshka/test/bench/lab"
	"github.com/matryoshka-dev/matryoshka/test/bench/machine"
	"github.com/matryoshka-dev/matryoshka/test/bench/measure"
	"github.com/matryoshka-dev/matryoshka/test/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	figures, err := o.earlier()
	if err != nil {
		return err
	}
	steps, err := measure.Choose(o.steps(), o.only)
	if err != nil {
		return err
	}
	err = measureOn(ctx, o, steps, figures, progress)
	return errors.Join(err, o.publish(figures, out))
}

func measureOn(ctx context.Context, o *options, steps []measure.Step, figures *report.Report, progress io.Writer) (err error) {
	begin := time.Now()
	log := func(format string, args ...any) {
		fmt.Fprintf(progress, "%7s  %s\n", time.Since(begin).Round(time.Second), fmt.Sprintf(format, args...))
	}
	host, stop, err := o.host(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	log("the host runs")
	bench := &measure.Bench{Host: host, Options: o.measure, Report: figures, Log: log}
	return bench.Run(ctx, steps)
}

// host is one that runs already, or one that is started for this run, and how to be done with it.
func (o *options) host(ctx context.Context) (*lab.Host, func() error, error) {
	if o.dataDir != "" {
		host, err := lab.Attach(ctx, o.dataDir)
		return host, func() error { return nil }, err
	}
	if os.Geteuid() != 0 {
		return nil, nil, errors.New("an embedded host needs root: run this with sudo")
	}
	folder, err := os.MkdirTemp("", "matry-bench.")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for the host's data: %w", err)
	}
	// Containers of other users must pass through it to their volumes.
	if err := os.Chmod(folder, 0o711); err != nil {
		return nil, nil, err
	}
	host, err := lab.Start(ctx, o.programs, filepath.Join(folder, "host"))
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(folder))
	}
	return host, func() error { return errors.Join(host.Stop(), os.Remove(folder)) }, nil
}

// earlier is a report with the figures of earlier runs on this machine, if they were kept.
func (o *options) earlier() (*report.Report, error) {
	description, err := machine.Describe()
	if err != nil {
		return nil, err
	}
	figures := report.New(description)
	file, err := os.Open(o.json)
	if errors.Is(err, os.ErrNotExist) {
		return figures, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the earlier figures: %w", err)
	}
	defer file.Close()
	before, err := report.ReadJSON(file)
	if err != nil {
		return nil, fmt.Errorf("read the earlier figures in %q: %w; remove the file to begin anew", o.json, err)
	}
	figures.Merge(before)
	return figures, nil
}
