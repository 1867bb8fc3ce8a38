// Package connect is `matry connect virtualcluster`: it runs a command inside a virtual cluster, or puts the virtual
// cluster into the user's kubeconfig.
//
// The credentials of a command that is run are in a folder of its own that only its owner can read, and are gone when
// the command has ended.
package connect

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/kubeconfig"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
)

type options struct {
	genericiooptions.IOStreams
	target     *hostcluster.Target
	namespace  string
	print      bool
	update     bool
	setCurrent bool
}

// NewCommand returns `matry connect`.
func NewCommand(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	group := &cobra.Command{
		Use:   "connect",
		Short: "Use a virtual cluster",
		Example: `  # Run one command in it
  matry connect virtualcluster hello -n demo -- kubectl get pods -A

  # Add it to your kubeconfig
  matry connect virtualcluster hello -n demo --update-kubeconfig`,
	}
	return arguments.Group(group, newVirtualCluster(streams, target))
}

func newVirtualCluster(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &options{IOStreams: streams, target: target}
	command := &cobra.Command{
		Use:     "virtualcluster NAME [-- COMMAND...]",
		Aliases: []string{"virtualclusters", "vc", "vcs"},
		Short:   "Run a command inside a virtual cluster, or add it to your kubeconfig",
		Long: "Run a command with $KUBECONFIG of a virtual cluster. kubectl need not be installed: without one on the PATH\n" +
			"the command finds the one that is built into matry. The exit code is the command's.",
		Example: `  # Run one command in it
  matry connect virtualcluster hello -n demo -- kubectl get pods -A

  # A shell in which kubectl, helm and all others use it
  matry connect vc hello -n demo -- bash

  # Add it to your kubeconfig and make it the current context
  matry connect vc hello -n demo --update-kubeconfig --set-current`,
		Args: o.validate,
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args[0], args[1:])
		},
		ValidArgsFunction: func(command *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return virtualcluster.Kind.CompleteNames(target)(command, args, toComplete)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&o.print, "print", false, "print the kubeconfig")
	flags.BoolVar(&o.update, "update-kubeconfig", false, "add the virtual cluster to your kubeconfig ($KUBECONFIG or ~/.kube/config)")
	flags.BoolVar(&o.setCurrent, "set-current", false, "make it the current context; needs --update-kubeconfig")
	kubeconfig.AddNamespaceFlag(command, target, &o.namespace)
	return command
}

// validate finds out what is asked for. What comes after "--" is the command to run.
func (o *options) validate(command *cobra.Command, args []string) error {
	dash := command.ArgsLenAtDash()
	before := len(args)
	if dash >= 0 {
		before = dash
	}
	if err := arguments.One("the name of the virtual cluster")(command, args[:before]); err != nil {
		return exit.WithNext(err, "put a command to run after two dashes: %s", command.UseLine())
	}
	if dash >= 0 && len(args) == before {
		return exit.Usagef("there is no command after \"--\"")
	}
	asked := 0
	for _, is := range []bool{o.print, o.update, len(args) > before} {
		if is {
			asked++
		}
	}
	if asked > 1 {
		return exit.Usagef("--print, --update-kubeconfig and a command after \"--\" exclude each other")
	}
	if o.setCurrent && !o.update {
		return exit.Usagef("--set-current needs --update-kubeconfig")
	}
	return nil
}

func (o *options) run(ctx context.Context, name string, command []string) error {
	key, err := kubeconfig.KeyOf(o.target, o.namespace, name)
	if err != nil {
		return err
	}
	hostClient, err := o.target.Client()
	if err != nil {
		return err
	}
	config, err := kubeconfig.Get(ctx, hostClient, key)
	if err != nil {
		return err
	}
	switch {
	case len(command) > 0:
		if err := checkWakes(ctx, hostClient, key); err != nil {
			return err
		}
		return runCommand(o.IOStreams, config, command)
	case o.update:
		return o.merge(config)
	case o.print:
		return o.printConfig(config)
	}
	o.explain(key)
	return nil
}

func (o *options) printConfig(config *clientcmdapi.Config) error {
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	_, err = o.Out.Write(content)
	return err
}

func (o *options) merge(config *clientcmdapi.Config) error {
	access := clientcmd.NewDefaultPathOptions()
	if err := kubeconfig.Merge(access, config, o.setCurrent); err != nil {
		return err
	}
	fmt.Fprintf(o.ErrOut, "context %q is in your kubeconfig\n", config.CurrentContext)
	if !o.setCurrent {
		fmt.Fprintf(o.ErrOut, "next: `kubectl config use-context %s`\n", config.CurrentContext)
	}
	return nil
}

// explain says how the virtual cluster can be used when nothing was asked for.
func (o *options) explain(key client.ObjectKey) {
	base := fmt.Sprintf("matry connect virtualcluster %s -n %s", key.Name, key.Namespace)
	fmt.Fprintf(o.ErrOut, `virtual cluster %s can be used in three ways:
  %s -- kubectl get pods -A     one command, or a shell
  %s --update-kubeconfig        a context in your kubeconfig
  %s --print                    the kubeconfig itself
`, key, base, base, base)
}
