package install

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

const callTimeout = 30 * time.Second

type commandOptions struct {
	genericiooptions.IOStreams
	target   *hostcluster.Target
	files    []string
	set      []string
	chartDir string
	takeOver bool
	show     bool
	timeout  time.Duration
}

// NewCommand returns `matry install`.
func NewCommand(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &commandOptions{IOStreams: streams, target: target}
	command := &cobra.Command{
		Use:   "install",
		Short: "Install or upgrade Matryoshka on an existing cluster",
		Long: "Install the built-in Helm chart on the cluster of --kubeconfig, or upgrade what is there. The cluster must be able\n" +
			"to pull the image: set image.repository and image.tag to where you have mirrored it.",
		Example: `  # Onto the cluster of the current context of a kubeconfig
  matry install --kubeconfig ~/.kube/config --set image.repository=registry.example.com/matryoshka/matryd

  # With values from a file
  matry install --kubeconfig prod.kubeconfig --context prod --values values.yaml

  # Which values are there?
  matry install --print-values > values.yaml`,
		Args:              arguments.None,
		RunE:              func(command *cobra.Command, _ []string) error { return o.run(command.Context()) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := command.Flags()
	flags.StringArrayVarP(&o.files, "values", "f", nil, "YAML `file` with values of the chart; a later one wins")
	flags.StringArrayVar(&o.set, "set", nil, "`key=value` of the chart; wins over --values")
	flags.StringVar(&o.chartDir, "chart", "", "`folder` or archive of a chart, instead of the built-in one")
	flags.BoolVar(&o.show, "print-values", false, "print the values of the chart with their defaults, and install nothing")
	flags.BoolVar(&o.takeOver, "take-over", false, "end an installation that was killed before it was done")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait until everything is available")
	return command
}

func (o *commandOptions) run(ctx context.Context) error {
	chart, err := o.chart()
	if err != nil {
		return err
	}
	if o.show {
		return printValues(o.Out, chart)
	}
	values, err := o.values()
	if err != nil {
		return err
	}
	if err := checkValues(chart, values); err != nil {
		return err
	}
	config, err := o.target.RESTConfig()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	options := Options{Chart: chart, Values: values, TakeOver: o.takeOver, Timeout: o.timeout}
	err = progress.New(o.ErrOut).Phase(ctx, "Matryoshka is installed", func(ctx context.Context, detail func(string)) error {
		return Run(ctx, config, options, detail)
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(o.ErrOut, "next: `matry create virtualcluster hello -n demo --create-namespace`")
	return nil
}

func (o *commandOptions) chart() (*chart.Chart, error) {
	if o.chartDir == "" {
		return BuiltIn()
	}
	loaded, err := loader.Load(o.chartDir)
	if err != nil {
		return nil, exit.Usagef("--chart: %q is no chart: %w", o.chartDir, err)
	}
	return loaded, nil
}
