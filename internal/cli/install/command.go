package install

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

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
  matry install --kubeconfig prod.kubeconfig --context prod --values values.yaml`,
		Args:              arguments.None,
		RunE:              func(command *cobra.Command, _ []string) error { return o.run(command.Context()) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := command.Flags()
	flags.StringArrayVarP(&o.files, "values", "f", nil, "YAML `file` with values of the chart; a later one wins")
	flags.StringArrayVar(&o.set, "set", nil, "`key=value` of the chart; wins over --values")
	flags.StringVar(&o.chartDir, "chart", "", "`folder` or archive of a chart, instead of the built-in one")
	flags.BoolVar(&o.takeOver, "take-over", false, "end an installation that was killed before it was done")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait until everything is available")
	return command
}

func (o *commandOptions) run(ctx context.Context) error {
	values, err := o.values()
	if err != nil {
		return err
	}
	chart, err := BuiltIn()
	if o.chartDir != "" {
		chart, err = loader.Load(o.chartDir)
	}
	if err != nil {
		return fmt.Errorf("load the chart: %w", err)
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

// values merges the files and then --set.
func (o *commandOptions) values() (map[string]any, error) {
	merged := map[string]any{}
	for _, file := range o.files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, exit.Usagef("--values: %w", err)
		}
		values := map[string]any{}
		if err := yaml.Unmarshal(content, &values); err != nil {
			return nil, exit.Usagef("--values: %q is not YAML: %w", file, err)
		}
		merge(merged, values)
	}
	for _, assignment := range o.set {
		if err := strvals.ParseInto(assignment, merged); err != nil {
			return nil, exit.Usagef("--set: %q is not key=value: %w", assignment, err)
		}
	}
	return merged, nil
}

// merge writes from into into, folder by folder.
func merge(into, from map[string]any) {
	for key, value := range from {
		inner, isMap := value.(map[string]any)
		existing, hasMap := into[key].(map[string]any)
		if isMap && hasMap {
			merge(existing, inner)
			continue
		}
		into[key] = value
	}
}
