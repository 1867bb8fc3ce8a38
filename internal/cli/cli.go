// Package cli is the composition root of matry: it puts the commands together and is the only place that prints an error
// and chooses an exit code.
//
// Results go to standard output, everything else to standard error. It imports no Kubernetes server code.
package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/matryoshka-dev/matryoshka/internal/cli/about"
	"github.com/matryoshka-dev/matryoshka/internal/cli/access"
	"github.com/matryoshka-dev/matryoshka/internal/cli/account"
	"github.com/matryoshka-dev/matryoshka/internal/cli/accountquota"
	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/connect"
	"github.com/matryoshka-dev/matryoshka/internal/cli/embeddedhost"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
	"github.com/matryoshka-dev/matryoshka/internal/cli/kubeconfig"
	"github.com/matryoshka-dev/matryoshka/internal/cli/kubectl"
	"github.com/matryoshka-dev/matryoshka/internal/cli/sleep"
	"github.com/matryoshka-dev/matryoshka/internal/cli/space"
	"github.com/matryoshka-dev/matryoshka/internal/cli/template"
	"github.com/matryoshka-dev/matryoshka/internal/cli/top"
	"github.com/matryoshka-dev/matryoshka/internal/cli/uninstall"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// Main runs matry with the program's arguments and returns its exit code. Called as "kubectl" it is kubectl: that is how
// `matry connect` provides one where none is installed.
func Main(ctx context.Context, program []string, streams genericiooptions.IOStreams) int {
	if filepath.Base(program[0]) == "kubectl" {
		kubectl.Run(program[1:])
		return int(exit.OK)
	}
	// Libraries log for operators of servers; a person at a command line gets errors, once.
	ctrllog.SetLogger(klog.Background())
	root := New(streams)
	root.SetArgs(program[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		return int(exit.OK)
	}
	if message := exit.Message(err); message != "" {
		fmt.Fprintln(streams.ErrOut, message)
	}
	return int(exit.CodeOf(err))
}

// New returns the command tree.
func New(streams genericiooptions.IOStreams) *cobra.Command {
	target := &hostcluster.Target{}
	root := &cobra.Command{
		Use:   "matry",
		Short: "Virtual Kubernetes clusters inside a Kubernetes cluster",
		Long: "matry makes and uses virtual Kubernetes clusters: complete control planes that run as pods of a host cluster and\n" +
			"use its nodes. It starts a host cluster on this machine when there is none.",
		Example: `  # Two commands to a working system
  sudo matry up --demo
  matry connect virtualcluster hello -n demo -- kubectl get pods -A

  # One more virtual cluster
  matry create virtualcluster mine -n demo`,
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Flags before the word kubectl are matry's, those behind it are kubectl's.
		TraverseChildren: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return exit.WithNext(exit.Usagef("%w", err), "`%s --help` lists the flags", command.CommandPath())
	})
	target.AddFlags(root.PersistentFlags())
	addVerbosity(root.PersistentFlags())
	_ = root.MarkPersistentFlagFilename("kubeconfig")
	_ = root.MarkPersistentFlagDirname("data-dir")

	arguments.Group(root,
		embeddedhost.NewUp(streams, target), embeddedhost.NewDown(streams, target),
		embeddedhost.NewStatus(streams, target), embeddedhost.NewLoad(streams, target),
		verb("create", "Create a virtual cluster, a space, an account or a template", nouns(streams, target, virtualcluster.NewCreate, space.NewCreate, account.NewCreate, accountquota.NewCreate,
			template.NewCreate, template.NewCreateInstance, template.NewCreateSpace)...),
		verb("get", "List or show virtual clusters, spaces, accounts and templates", nouns(streams, target, virtualcluster.NewGet, space.NewGet, account.NewGet, accountquota.NewGet,
			template.NewGet, template.NewGetInstance, template.NewGetSpace)...),
		verb("describe", "Show one of them in detail", nouns(streams, target, virtualcluster.NewDescribe, space.NewDescribe, account.NewDescribe, accountquota.NewDescribe,
			template.NewDescribe, template.NewDescribeInstance, template.NewDescribeSpace)...),
		verb("edit", "Change one of them in your editor", nouns(streams, target, virtualcluster.NewEdit, space.NewEdit, account.NewEdit, accountquota.NewEdit,
			template.NewEdit, template.NewEditInstance, template.NewEditSpace)...),
		verb("delete", "Delete virtual clusters, spaces, accounts and templates", nouns(streams, target, virtualcluster.NewDelete, space.NewDelete, account.NewDelete, accountquota.NewDelete,
			template.NewDelete, template.NewDeleteInstance, template.NewDeleteSpace)...),
		verb("top", "Show how much an account uses", top.NewAccount(streams, target)),
		access.NewCommand(streams, target),
		verb("sleep", "Stop what runs in a space or a virtual cluster; what it holds stays", nouns(streams, target, sleep.NewSleepVirtualCluster, sleep.NewSleepSpace)...),
		verb("wake", "Wake a space or a virtual cluster", nouns(streams, target, sleep.NewWakeVirtualCluster, sleep.NewWakeSpace)...),
		verb("snooze", "Put off the deletion of a space or a virtual cluster for idleness", nouns(streams, target, sleep.NewSnoozeVirtualCluster, sleep.NewSnoozeSpace)...),
		verb("renew", "Make the credentials of a virtual cluster anew", nouns(streams, target, virtualcluster.NewRenew)...),
		connect.NewCommand(streams, target), kubeconfig.NewCommand(streams, target),
		install.NewCommand(streams, target), uninstall.NewCommand(streams, target), kubectl.NewCommand(target),
		about.NewVersion(streams, target), about.NewExitCodes(),
	)
	strictHelp(root)
	return root
}

// nouns makes the commands of a verb.
func nouns(streams genericiooptions.IOStreams, target *hostcluster.Target, constructors ...func(genericiooptions.IOStreams, *hostcluster.Target) *cobra.Command) []*cobra.Command {
	commands := make([]*cobra.Command, 0, len(constructors))
	for _, construct := range constructors {
		commands = append(commands, construct(streams, target))
	}
	return commands
}

// verb is a command that needs a noun. Its examples are the first ones of its nouns.
func verb(name, short string, nouns ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{Use: name, Short: short}
	for i, noun := range nouns {
		if i > 0 {
			command.Example += "\n\n"
		}
		first, _, _ := strings.Cut(noun.Example, "\n\n")
		command.Example += first
	}
	return arguments.Group(command, nouns...)
}
