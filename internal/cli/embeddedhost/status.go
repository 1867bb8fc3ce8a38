package embeddedhost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// statusTimeout bounds what is asked of the host's API server: status is for when something is wrong.
const statusTimeout = 5 * time.Second

type statusOptions struct {
	genericiooptions.IOStreams
	target *hostcluster.Target
	format string
}

// NewStatus returns `matry status`.
func NewStatus(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &statusOptions{IOStreams: streams, target: target}
	command := &cobra.Command{
		Use:   "status",
		Short: "Show the embedded host, its node, the agent and the virtual clusters",
		Long: "Show the embedded host, its node, the agent and the virtual clusters. With --kubeconfig or --context the same of\n" +
			"another host cluster. Exit code 3 when the embedded host does not run.",
		Example: `  # What runs?
  matry status

  # For a script
  matry status -o json | jq .host.state`,
		Args:              arguments.None,
		RunE:              func(command *cobra.Command, _ []string) error { return o.run(command.Context()) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	formats := []string{"table", "json", "yaml"}
	command.Flags().StringVarP(&o.format, "output", "o", "table", "output `format`: table, json, yaml")
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return command
}

func (o *statusOptions) run(ctx context.Context) error {
	switch o.format {
	case "table", "json", "yaml":
	default:
		return exit.Usagef("-o: %q is not an output format; use one of table, json, yaml", o.format)
	}
	status, err := o.collect(ctx)
	if err != nil {
		return err
	}
	if err := o.print(status); err != nil {
		return err
	}
	if status.Host != nil && status.Host.State != control.Running {
		return &exit.Error{
			Code: exit.NotFound,
			Err:  fmt.Errorf("the embedded host of %q is %s", status.Host.DataDir, status.Host.State),
			Next: "`matry up` starts it",
		}
	}
	return nil
}

func (o *statusOptions) collect(ctx context.Context) (*Status, error) {
	status := &Status{}
	if o.target.Kubeconfig == "" && o.target.Context == "" {
		host, err := hostStatus(o.target.EmbeddedDataDir())
		if err != nil {
			return nil, err
		}
		status.Host = host
		if host.State != control.Running {
			return status, nil
		}
	}
	hostClient, err := o.target.Client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	status.addCluster(ctx, hostClient)
	return status, nil
}

func (o *statusOptions) print(status *Status) error {
	switch o.format {
	case "json":
		encoder := json.NewEncoder(o.Out)
		encoder.SetIndent("", "    ")
		return encoder.Encode(status)
	case "yaml":
		content, err := yaml.Marshal(status)
		if err != nil {
			return fmt.Errorf("encode the status: %w", err)
		}
		_, err = o.Out.Write(content)
		return err
	}
	return printStatus(o.Out, status)
}

func printStatus(w io.Writer, status *Status) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if host := status.Host; host != nil {
		fmt.Fprintf(out, "HOST\t%s\t%s\n", host.State, host.text())
	}
	for _, node := range status.Nodes {
		fmt.Fprintf(out, "NODE\t%s\t%s, %s, %d of %d pods\n", readyText(node.Ready), node.Name, node.KubeletVersion, node.Pods, node.MaxPods)
	}
	for _, deployment := range status.Deployments {
		fmt.Fprintf(out, "%s\t%s\t%d of %d pods available, %s\n", deployment.title(), availableText(deployment.Available), deployment.AvailablePods, deployment.Pods, deployment.Image)
	}
	for _, vc := range status.VirtualClusters {
		fmt.Fprintf(out, "VIRTUAL CLUSTER\t%s\t%s/%s: %s\n", readyText(vc.Ready), vc.Namespace, vc.Name, vc.Reason)
	}
	for _, problem := range status.Problems {
		fmt.Fprintf(out, "PROBLEM\t\t%s\n", problem)
	}
	return out.Flush()
}

func readyText(isReady bool) string {
	if isReady {
		return "Ready"
	}
	return "NotReady"
}

func availableText(isAvailable bool) string {
	if isAvailable {
		return "Available"
	}
	return "Unavailable"
}
