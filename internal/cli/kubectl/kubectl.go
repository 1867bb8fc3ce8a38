// Package kubectl is `matry kubectl`: kubectl itself, of the Kubernetes version that matry is built from, so that a
// machine needs no second program.
//
// It changes nothing about kubectl but the default of KUBECONFIG, and adds what to do next to two of its errors. It takes
// the process over: kubectl sets up logging once and ends the process itself on errors.
package kubectl

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// Limits towards the API server, those of the kubectl program.
const (
	discoveryBurst = 300
	discoveryQPS   = 50
)

// NewCommand returns `matry kubectl`.
func NewCommand(target *hostcluster.Target) *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl [ARGUMENT...]",
		Short: "Run kubectl, which is built in",
		Long: "Run kubectl, which is built in. It uses the cluster of --kubeconfig, --context or --data-dir, or $KUBECONFIG when\n" +
			"that is set, or else the embedded host. Flags of matry come before the word kubectl; what comes after it is kubectl's.",
		Example: `  # What runs on the embedded host
  matry kubectl get pods -A

  # Inside a virtual cluster
  matry connect virtualcluster hello -n demo -- kubectl get namespaces`,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := setTarget(target); err != nil {
				return err
			}
			Run(withTarget(target, args))
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if setTarget(target) != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return complete(withTarget(target, args), toComplete)
		},
	}
}

// Run runs kubectl with these arguments. It ends the process when kubectl fails.
func Run(args []string) {
	// kubectl has signal handling of its own, and none for most of its commands.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	// Some of kubectl's commands look at the program's arguments, to tell what changed an object.
	os.Args = append([]string{"kubectl"}, args...)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	cmdutil.BehaviorOnFatal(fatal)
	if err := cli.RunNoErrOutput(newKubectl(streams, os.Args, cmd.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes))); err != nil {
		cmdutil.CheckErr(err)
	}
}

func newKubectl(streams genericiooptions.IOStreams, args []string, plugins cmd.PluginHandler) *cobra.Command {
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().
		WithDiscoveryBurst(discoveryBurst).WithDiscoveryQPS(discoveryQPS).WithWarningPrinter(streams)
	kubectl := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		PluginHandler: plugins, Arguments: args, ConfigFlags: flags, IOStreams: streams,
	})
	kubectl.SetArgs(args[1:])
	return kubectl
}

// setTarget points kubectl at the host cluster that was chosen by a flag, or else by the environment, or else at the
// embedded host when there is one.
func setTarget(target *hostcluster.Target) error {
	file := target.Kubeconfig
	switch {
	case file != "" || target.Context != "":
	case target.DataDir != "":
		// It fails with the error that says what is wrong with this host.
		if _, err := target.Loader(); err != nil {
			return err
		}
		file = target.EmbeddedKubeconfig()
	case os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "":
		if _, err := os.Stat(target.EmbeddedKubeconfig()); err == nil {
			file = target.EmbeddedKubeconfig()
		}
	}
	if file == "" {
		return nil
	}
	return os.Setenv(clientcmd.RecommendedConfigPathEnvVar, file)
}

// withTarget puts matry's flags in front of kubectl's own.
func withTarget(target *hostcluster.Target, args []string) []string {
	var flags []string
	if target.Context != "" {
		flags = append(flags, "--context="+target.Context)
	}
	if target.As != "" {
		flags = append(flags, "--as="+target.As)
	}
	for _, group := range target.AsGroups {
		flags = append(flags, "--as-group="+group)
	}
	return append(flags, args...)
}

// complete asks kubectl itself for completions, by the protocol that shells use.
func complete(args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var answer bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &answer, ErrOut: io.Discard}
	request := append([]string{"kubectl", cobra.ShellCompRequestCmd}, args...)
	kubectl := newKubectl(streams, append(request, toComplete), nil)
	kubectl.SetOut(&answer)
	kubectl.SetErr(io.Discard)
	if err := kubectl.Execute(); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return parseCompletions(answer.String())
}

// parseCompletions reads one completion a line, and at the end a line with ':' and the directive.
func parseCompletions(answer string) ([]cobra.Completion, cobra.ShellCompDirective) {
	lines := strings.Split(strings.TrimSpace(answer), "\n")
	last := lines[len(lines)-1]
	directive := cobra.ShellCompDirectiveDefault
	if number, found := strings.CutPrefix(last, ":"); found {
		directive = directiveOf(number)
		lines = lines[:len(lines)-1]
	}
	return lines, directive
}
