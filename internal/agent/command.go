package agent

import (
	"github.com/spf13/cobra"
)

// NewCommand returns matryd agent.
func NewCommand() *cobra.Command {
	options := NewOptions()
	command := &cobra.Command{
		Use:   "agent",
		Short: "Run virtual clusters on the host cluster that this runs in",
		Long: "Run virtual clusters on the host cluster that this runs in: their control planes, the sync of their objects, " +
			"and the doors through which they are reached. It is installed by the Helm chart matryoshka.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := options.Complete()
			if err != nil {
				return err
			}
			return Run(cmd.Context(), config)
		},
	}
	options.AddFlags(command.Flags())
	return command
}
