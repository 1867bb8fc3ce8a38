// Package host is the embedded host: a whole Kubernetes on one machine, in its own network namespace. It has one node, or two, the second
// one in a namespace and with a containerd of its own.
//
// It has an outer part (package supervisor), an inner part (package node) and a remote control (package control). This
// package only makes the command.
package host

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/host/node"
	"github.com/matryoshka-dev/matryoshka/internal/host/supervisor"
)

// NewCommand is `matryd host`.
func NewCommand() *cobra.Command {
	var options control.Options
	command := &cobra.Command{
		Use:   "host",
		Short: "Run Kubernetes with one or two nodes on this machine",
		Long: "Run Kubernetes with one or two nodes on this machine, in network namespaces of their own.\n" +
			"The API server and the front door of the agent are published on 127.0.0.1.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return supervisor.Run(cmd.Context(), options) },
	}
	addFlags(command, &options)
	command.AddCommand(newInnerCommand(), newWorkerCommand())
	return command
}

// newWorkerCommand is what the supervisor starts in the network namespace of the second node.
func newWorkerCommand() *cobra.Command {
	var options control.Options
	command := &cobra.Command{
		Use:    supervisor.WorkerCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := control.NewLayout(options.DataDir)
			if err != nil {
				return err
			}
			return node.RunWorker(cmd.Context(), node.Config{
				Layout: layout, Options: options,
				Reports: os.NewFile(supervisor.WorkerReportFile, "reports"),
				Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)).With("component", "second node"),
			})
		},
	}
	addFlags(command, &options)
	return command
}

// newInnerCommand is what the supervisor starts in the network namespace.
func newInnerCommand() *cobra.Command {
	var options control.Options
	var upstream string
	command := &cobra.Command{
		Use:    supervisor.InnerCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := innerConfig(options, upstream)
			if err != nil {
				return err
			}
			return node.Run(cmd.Context(), config)
		},
	}
	addFlags(command, &options)
	command.Flags().StringVar(&upstream, "dns-upstream", "", "server for names outside of the cluster")
	return command
}

func addFlags(command *cobra.Command, options *control.Options) {
	flags := command.Flags()
	flags.StringVar(&options.DataDir, "data-dir", "", "folder of everything that survives a restart (required)")
	flags.IntVar(&options.APIPort, "api-port", control.DefaultAPIPort, "port of the API server on 127.0.0.1")
	flags.IntVar(&options.FrontDoorPort, "front-door-port", control.DefaultFrontDoorPort, "port of the front door on 127.0.0.1")
	flags.StringVar(&options.ProgramsDir, "programs-dir", "", "folder with containerd, runc, the CNI plugins and metrics-server (required)")
	flags.StringVar((*string)(&options.Egress), "egress", string(control.EgressNone), "way out of the pods: none or nat")
	flags.StringSliceVar(&options.PullFrom, "pull-from", nil, "private addresses, ranges or host names that image pulls may reach")
	flags.IntVar(&options.Nodes, "nodes", 1, "how many nodes: 1 or 2")
	flags.StringVar(&options.SandboxImage, "sandbox-image", control.DefaultSandboxImage(), "image of the pod sandbox; it must be imported")
	for _, required := range []string{"data-dir", "programs-dir"} {
		if err := command.MarkFlagRequired(required); err != nil {
			panic(err) // A flag was renamed above only.
		}
	}
}

func innerConfig(options control.Options, upstream string) (node.Config, error) {
	layout, err := control.NewLayout(options.DataDir)
	if err != nil {
		return node.Config{}, err
	}
	api, err := inheritedListener(supervisor.APIListenerFile)
	if err != nil {
		return node.Config{}, err
	}
	frontDoor, err := inheritedListener(supervisor.FrontDoorListenerFile)
	if err != nil {
		return node.Config{}, err
	}
	return node.Config{
		Layout: layout, Options: options, API: api, FrontDoor: frontDoor, Upstream: upstream,
		Reports: os.NewFile(supervisor.ReportFile, "reports"),
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)).With("component", "host"),
	}, nil
}

func inheritedListener(descriptor uintptr) (net.Listener, error) {
	file := os.NewFile(descriptor, "listener")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("take over the listener %d: %w; this command is started by `matryd host` only", descriptor, err)
	}
	return listener, nil
}
