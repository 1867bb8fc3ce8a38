package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/test/bench/measure"
)

type options struct {
	set, programs, dataDir string
	json, write            string
	only                   []string
	measure                measure.Options
}

// steps are those of the chosen set.
func (o *options) steps() []measure.Step {
	switch o.set {
	case "density":
		return measure.Density()
	case "scale":
		return measure.Many()
	case "accounts":
		return measure.Accounts()
	default:
		return measure.Steps()
	}
}

func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	m := &o.measure
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.set, "set", "budgets", "what is measured: budgets, density, scale or accounts")
	flags.StringVar(&o.programs, "programs", "bin", "folder of the built programs")
	flags.StringVar(&o.dataDir, "data-dir", "", "use the running host with this data folder instead of one of its own")
	flags.StringVar(&o.json, "json", ".build/bench.json", "file in which figures are kept; those not taken again stay")
	flags.StringVar(&o.write, "write", "", "document that gets the table, between its marks")
	only := flags.String("only", "", "steps to take, joined by commas: "+strings.Join(measure.Names(measure.Steps()), ", "))
	flags.IntVar(&m.Runs, "runs", 10, "creations and deletions of virtual clusters")
	flags.IntVar(&m.Samples, "samples", 100, "pods, calls and changes of objects")
	flags.IntVar(&m.Burst, "burst", 200, "pods in a burst")
	idle := flags.String("idle-tenants", "10,30", "numbers of idle tenants, ascending")
	flags.DurationVar(&m.Settle, "settle", 3*time.Minute, "how long virtual clusters are left alone before they are idle")
	flags.DurationVar(&m.Window, "window", time.Minute, "how long idle ones are measured")
	flags.DurationVar(&m.Quiet, "quiet", time.Minute, "how long to wait for a quiet machine before each step")
	flags.IntVar(&m.Most, "most", 150, "virtual clusters at which the set density ends")
	flags.IntVar(&m.Scale.Tenants, "tenants", 100, "tenants of the set scale")
	flags.IntVar(&m.Scale.Pods, "pods", 10_000, "pods of the set scale, in all tenants together")
	flags.Float64Var(&m.Scale.Rate, "rate", 50, "pods created per second in the set scale")
	flags.IntVar(&m.Scale.Noise, "noise", 1000, "pods that the noisy tenant of the set scale creates at once")
	flags.IntVar(&m.Accounts, "accounts", 500, "accounts of the set accounts, with four spaces each")
	store := flags.String("store", "", "store of the virtual clusters: sqlite or memory (default sqlite; memory in the set scale)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	err := o.complete(*store, *idle)
	if flags.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("%q is no flag", flags.Arg(0)))
	}
	return o, err
}

func (o *options) complete(store, idle string) error {
	if !slices.Contains([]string{"budgets", "density", "scale", "accounts"}, o.set) {
		return fmt.Errorf("-set: %q is not known; use budgets, density, scale or accounts", o.set)
	}
	if store == "" {
		store = string(clusterv1alpha1.StoreSQLite)
		if o.set == "scale" {
			store = string(clusterv1alpha1.StoreMemory)
		}
	}
	o.measure.Store = clusterv1alpha1.StoreType(store)
	if o.measure.Store != clusterv1alpha1.StoreSQLite && o.measure.Store != clusterv1alpha1.StoreMemory {
		return fmt.Errorf("-store: %q is not known; use sqlite or memory", store)
	}
	for number := range strings.SplitSeq(idle, ",") {
		count, err := strconv.Atoi(number)
		if err != nil || count < 1 {
			return fmt.Errorf("-idle-tenants: %q is not a number above 0", number)
		}
		o.measure.IdleTenants = append(o.measure.IdleTenants, count)
	}
	if !slices.IsSorted(o.measure.IdleTenants) {
		return fmt.Errorf("-idle-tenants: %q is not ascending", idle)
	}
	return o.positive()
}

// positive checks what the figures are divided by.
func (o *options) positive() error {
	m := o.measure
	for name, value := range map[string]int{
		"accounts": m.Accounts / 4, "runs": m.Runs, "samples": m.Samples, "burst": m.Burst, "most": m.Most, "pods": m.Scale.Pods, "noise": m.Scale.Noise,
	} {
		if value < 1 {
			return fmt.Errorf("-%s: %d is not above 0", name, value)
		}
	}
	if m.Scale.Rate <= 0 || m.Window <= 0 || m.Settle < 0 || m.Quiet < 0 {
		return errors.New("-rate and -window must be above 0, -settle and -quiet not below it")
	}
	return nil
}
