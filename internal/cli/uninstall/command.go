package uninstall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

type commandOptions struct {
	genericiooptions.IOStreams
	target     *hostcluster.Target
	deleteData bool
	force      bool
	yes        bool
	timeout    time.Duration
}

// NewCommand returns `matry uninstall`.
func NewCommand(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &commandOptions{IOStreams: streams, target: target}
	command := &cobra.Command{
		Use:   "uninstall",
		Short: "Take Matryoshka off a cluster and leave nothing behind",
		Long: "Remove what `matry install` has installed and what the agent has made: policies, webhooks, roles, definitions of\n" +
			"resources, finalizers and the namespace. Accounts, quotas and templates go with it. While there are virtual clusters or\n" +
			"spaces nothing is changed, unless --delete-data is given.",
		Example: `  # Nothing is in use any more
  matry uninstall --kubeconfig ~/.kube/config

  # With all virtual clusters, spaces and their data
  matry uninstall --delete-data

  # The agent is broken, and its finalizers hold everything
  matry uninstall --delete-data --force`,
		Args:              arguments.None,
		RunE:              func(command *cobra.Command, _ []string) error { return o.run(command.Context()) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := command.Flags()
	flags.BoolVar(&o.deleteData, "delete-data", false, "delete all virtual clusters and spaces with everything in them")
	flags.BoolVar(&o.force, "force", false, "end without the agent what it does not end: for an agent that is gone or broken")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask; without a terminal nothing is asked")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait until everything is gone")
	return command
}

func (o *commandOptions) run(ctx context.Context) error {
	config, err := o.target.RESTConfig()
	if err != nil {
		return err
	}
	if err := o.confirm(config.Host); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	options := Options{DeleteData: o.deleteData, Force: o.force, Timeout: o.timeout}
	return progress.New(o.ErrOut).Phase(ctx, "Matryoshka is uninstalled", func(ctx context.Context, detail func(string)) error {
		return Run(ctx, config, options, detail)
	})
}

// confirm asks a person at a terminal. A script is not asked.
func (o *commandOptions) confirm(host string) error {
	input, isFile := o.In.(*os.File)
	if o.yes || !isFile || !term.IsTerminal(int(input.Fd())) {
		return nil
	}
	what := "Matryoshka"
	if o.deleteData {
		what = "Matryoshka with all virtual clusters, spaces and their data"
	}
	fmt.Fprintf(o.ErrOut, "Remove %s from %s? [y/N] ", what, host)
	answer, err := bufio.NewReader(io.LimitReader(o.In, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
		return nil
	}
	return &exit.Error{Code: exit.Interrupted, Err: errors.New("nothing was uninstalled")}
}
