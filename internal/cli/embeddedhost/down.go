package embeddedhost

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
)

// NewDown returns `matry down`.
func NewDown(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	var purge bool
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "down",
		Short: "Stop the embedded host; its data stays",
		Long: "Stop the embedded host and remove the processes, network namespace, mounts and cgroups that it made, and only those.\n" +
			"The data folder stays, and `matry up` brings everything back from it, unless --purge is given.",
		Example: `  # Stop it and keep everything
  sudo matry down

  # Remove every trace, with all virtual clusters and their data
  sudo matry down --purge`,
		Args: arguments.None,
		RunE: func(command *cobra.Command, _ []string) error {
			if target.Kubeconfig != "" || target.Context != "" {
				return exit.Usagef("%w", errNotTarget)
			}
			if err := needRoot(command); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			return down(ctx, progress.New(streams.ErrOut), target.EmbeddedDataDir(), purge)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	command.Flags().BoolVar(&purge, "purge", false, "remove the data folder too: all virtual clusters and their data")
	command.Flags().DurationVar(&timeout, "timeout", 3*time.Minute, "how long it may take")
	return command
}

func down(ctx context.Context, report *progress.Reporter, dataDir string, purge bool) error {
	what := "the embedded host is stopped"
	if purge {
		what = "the embedded host and its data are removed"
	}
	err := report.Phase(ctx, what, func(ctx context.Context, _ func(string)) error {
		return control.Stop(ctx, dataDir, purge)
	})
	if err != nil {
		return exit.WithNext(fmt.Errorf("stop the embedded host of %q: %w", dataDir, err), "run the same command again: it goes on where it ended")
	}
	return nil
}
