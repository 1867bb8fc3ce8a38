package cli

import (
	"flag"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// addVerbosity adds -v, by which the client library tells what it asks of the API server, as with kubectl.
func addVerbosity(flags *pflag.FlagSet) {
	var all flag.FlagSet
	klog.InitFlags(&all)
	verbosity := pflag.PFlagFromGoFlag(all.Lookup("v"))
	verbosity.Name, verbosity.Shorthand = "verbosity", "v"
	verbosity.Usage = "`level` of what is told on standard error: 6 shows the requests"
	flags.AddFlag(verbosity)
}

// strictHelp makes cobra's two own commands fail for a word that they do not know: they answer it with a help text and
// exit code 0.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		switch command.Name() {
		case "help":
			command.Args = helpTopic
		case "completion":
			arguments.Group(command)
		}
	}
}

func helpTopic(command *cobra.Command, args []string) error {
	_, unknown, err := command.Root().Find(args)
	if err == nil && len(unknown) == 0 {
		return nil
	}
	return exit.WithNext(exit.Usagef("there is no command %q", strings.Join(args, " ")), "`%s --help` lists all of them", command.Root().Name())
}
