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

	"github.com/matryoshka-dev/matryoshka/internal/agent"
	"github.com/matryoshka-dev/matryoshka/internal/controlplane"
	"github.com/matryoshka-dev/matryoshka/internal/dns"
	"github.com/matryoshka-dev/matryoshka/internal/host"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "matryd",
		Short:         "The server side of Matryoshka",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	// One line per role: host.NewCommand(), agent.NewCommand(), dns.NewCommand(), controlplane.NewCommand().
	root.AddCommand(host.NewCommand(), agent.NewCommand(), dns.NewCommand(), controlplane.NewCommand())
	return root
}
