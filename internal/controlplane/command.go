package controlplane

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/matryoshka-dev/matryoshka/internal/controlplane/config"
)

const startTimeout = 60 * time.Second

// NewCommand returns "matryd controlplane".
func NewCommand() *cobra.Command {
	var file string
	var printConfig bool
	command := &cobra.Command{
		Use:   "controlplane --config FILE",
		Short: "Run the Kubernetes control plane of one virtual cluster",
		Long: "Run the API server, the controllers and the datastore of one virtual cluster in this process, until\n" +
			"SIGTERM or SIGINT. Health: /livez and /readyz on the API server's port.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			if printConfig {
				return writeConfig(cmd.OutOrStdout(), c)
			}
			return Run(cmd.Context(), c)
		},
	}
	command.Flags().StringVar(&file, "config", "", "the configuration file (required)")
	command.Flags().BoolVar(&printConfig, "print-config", false, "print the configuration with its defaults and exit")
	if err := command.MarkFlagRequired("config"); err != nil {
		panic(err)
	}
	return command
}

func writeConfig(w io.Writer, c *config.ControlPlane) error {
	data, err := c.Marshal()
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// Run runs one control plane as the whole work of this process until the context ends. It sets what is process-wide:
// the logs of Kubernetes and the garbage collector.
func Run(ctx context.Context, c *config.ControlPlane) error {
	if err := quietKubernetes(os.Stderr); err != nil {
		return err
	}
	began := time.Now()
	cp, err := New(*c)
	if err != nil {
		return err
	}
	defer collectGarbage(ctx, cp.Ready())()
	startCtx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := cp.Start(startCtx); err != nil {
		return err
	}
	slog.Info("Control plane is serving", "vcluster", c.Name, "port", c.Port, "after", time.Since(began).String())
	err = cp.wait(ctx, began)
	slog.Info("Control plane is stopping", "vcluster", c.Name)
	return errors.Join(err, cp.Stop(context.WithoutCancel(ctx)))
}

func (c *ControlPlane) wait(ctx context.Context, began time.Time) error {
	ready := c.Ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-c.failed:
			return err
		case <-ready:
			c.log.Info("Control plane is ready", "after", time.Since(began).String())
			ready = nil
		}
	}
}
