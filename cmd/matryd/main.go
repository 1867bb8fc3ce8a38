// Command matryd is everything of Matryoshka that serves: the embedded host, the agent, the DNS and the control plane of
// a virtual cluster. One binary and one container image hold them all.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/matryoshka-dev/matryoshka/internal/agent"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane"
	"github.com/matryoshka-dev/matryoshka/internal/dns"
	"github.com/matryoshka-dev/matryoshka/internal/host"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/template/chart"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run() error {
	if chart.IsChild() {
		return chart.Main()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Kubernetes' libraries put flags of theirs into the global set, and cobra adds that set to every command; its
	// --version is of a kind that cobra's own cannot live with.
	pflag.CommandLine = pflag.NewFlagSet("matryd", pflag.ContinueOnError)
	return newCommand().ExecuteContext(ctx)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "matryd",
		Short:         "The server side of Matryoshka",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(host.NewCommand(), agent.NewCommand(), dns.NewCommand(), controlplane.NewCommand())
	return root
}
