package top

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/account"
	"github.com/matryoshka-dev/matryoshka/internal/cli/accountquota"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/structured"
)

type options struct {
	genericiooptions.IOStreams
	target *hostcluster.Target
	format structured.Format
}

// NewAccount returns the command "account" of `matry top`.
func NewAccount(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &options{IOStreams: streams, target: target}
	command := &cobra.Command{
		Use:     "account [NAME]",
		Aliases: []string{"accounts", "acc"},
		Short:   "Show how much of its limits and quotas an account uses",
		Example: `  # All that you belong to; an admin sees all
  matry top account

  # One, with the namespaces that use most
  matry top account shop

  # For a script
  matry top account shop -o json`,
		Args: func(command *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exit.Usagef("%q takes one account at most; got %q", command.CommandPath(), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args)
		},
		ValidArgsFunction: account.Kind.CompleteOne(target),
	}
	o.format.AddFlag(command)
	return command
}

func (o *options) run(ctx context.Context, args []string) error {
	cluster, err := o.target.Client()
	if err != nil {
		return err
	}
	accounts, err := o.accounts(ctx, cluster, args)
	if err != nil {
		return err
	}
	quotas, err := accountquota.Kind.List(ctx, cluster)
	if err != nil {
		// The limits of the account are worth to be shown alone.
		fmt.Fprintf(o.ErrOut, "quotas are not shown: %v\n", err)
	}
	usages := make([]Usage, 0, len(accounts))
	for _, one := range accounts {
		usages = append(usages, usageOf(one, quotas))
	}
	return o.show(usages, len(args) == 1)
}

func (o *options) accounts(ctx context.Context, cluster client.Client, args []string) ([]*tenancyv1alpha1.Account, error) {
	if len(args) == 0 {
		return account.Kind.List(ctx, cluster)
	}
	one, err := account.Kind.Get(ctx, cluster, client.ObjectKey{Name: args[0]})
	return []*tenancyv1alpha1.Account{one}, err
}

func (o *options) show(usages []Usage, isOne bool) error {
	switch {
	case o.format.IsGiven() && isOne:
		return o.format.Print(o.Out, usages[0])
	case o.format.IsGiven():
		return o.format.Print(o.Out, usages)
	case isOne:
		return writeOne(o.Out, &usages[0])
	case len(usages) == 0:
		fmt.Fprintln(o.ErrOut, "no accounts that you may see; `matry create account NAME` makes one")
		return nil
	}
	return writeAll(o.Out, usages)
}
