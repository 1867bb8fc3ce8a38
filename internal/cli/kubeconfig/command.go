package kubeconfig

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
	"github.com/matryoshka-dev/matryoshka/internal/cli/virtualcluster"
)

// NewCommand returns `matry kubeconfig`.
func NewCommand(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	group := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the kubeconfig of the host cluster or of a virtual cluster",
		Example: `  # Use the embedded host with your own kubectl
  export KUBECONFIG=$(mktemp); matry kubeconfig host > $KUBECONFIG

  # A file for a colleague or a CI job
  matry kubeconfig virtualcluster hello -n demo --file hello.kubeconfig`,
	}
	return arguments.Group(group, newHost(streams, target), newVirtualCluster(streams, target))
}

func newHost(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "host",
		Short: "Print the kubeconfig of the host cluster",
		Example: `  # Print it
  matry kubeconfig host

  # Write it into a file that only you can read
  matry kubeconfig host --file host.kubeconfig`,
		Args: arguments.None,
		RunE: func(*cobra.Command, []string) error {
			config, err := ofTarget(target)
			if err != nil {
				return err
			}
			return put(streams, file, config)
		},
	}
	addFileFlag(command, &file)
	return command
}

// ofTarget is the kubeconfig of the host cluster reduced to one context, with all files it refers to inside.
func ofTarget(target *hostcluster.Target) (*clientcmdapi.Config, error) {
	// It fails with the error that says which clusters there are to choose from.
	if _, err := target.RESTConfig(); err != nil {
		return nil, err
	}
	loader, err := target.Loader()
	if err != nil {
		return nil, err
	}
	config, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the host cluster: %w", err)
	}
	if target.Context != "" {
		config.CurrentContext = target.Context
	}
	if err := clientcmdapi.MinifyConfig(&config); err != nil {
		return nil, fmt.Errorf("take the current context out of the kubeconfig: %w", err)
	}
	if err := clientcmdapi.FlattenConfig(&config); err != nil {
		return nil, fmt.Errorf("read the files of the kubeconfig: %w", err)
	}
	return &config, nil
}

func newVirtualCluster(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	var namespace, file string
	command := &cobra.Command{
		Use:     "virtualcluster NAME",
		Aliases: []string{"virtualclusters", "vc", "vcs"},
		Short:   "Print the administrator's kubeconfig of a virtual cluster",
		Example: `  # Print it
  matry kubeconfig virtualcluster hello -n demo

  # Write it into a file that only you can read
  matry kubeconfig vc hello -n demo --file hello.kubeconfig`,
		Args:              arguments.One("the name of the virtual cluster"),
		ValidArgsFunction: virtualcluster.Kind.CompleteNames(target),
		RunE: func(command *cobra.Command, args []string) error {
			key, err := KeyOf(target, namespace, args[0])
			if err != nil {
				return err
			}
			hostClient, err := target.Client()
			if err != nil {
				return err
			}
			config, err := Get(command.Context(), hostClient, key)
			if err != nil {
				return err
			}
			return put(streams, file, config)
		},
	}
	AddNamespaceFlag(command, target, &namespace)
	addFileFlag(command, &file)
	return command
}

// AddNamespaceFlag adds -n.
func AddNamespaceFlag(command *cobra.Command, target *hostcluster.Target, namespace *string) {
	command.Flags().StringVarP(namespace, "namespace", "n", "", "`namespace` of the host cluster (default that of the kubeconfig's context)")
	// The error is a programming error: the flag is added one line above.
	_ = command.RegisterFlagCompletionFunc("namespace", noun.CompleteNamespaces(target))
}

// KeyOf completes a name with the namespace that was given, or that of the host cluster's context.
func KeyOf(target *hostcluster.Target, namespace, name string) (client.ObjectKey, error) {
	if namespace != "" {
		return client.ObjectKey{Namespace: namespace, Name: name}, nil
	}
	namespace, err := target.Namespace()
	return client.ObjectKey{Namespace: namespace, Name: name}, err
}

func addFileFlag(command *cobra.Command, file *string) {
	command.Flags().StringVarP(file, "file", "f", "", "write into this `file`, for its owner only, instead of printing")
}

func put(streams genericiooptions.IOStreams, file string, config *clientcmdapi.Config) error {
	if file != "" {
		return WriteFile(file, config)
	}
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	_, err = streams.Out.Write(content)
	return err
}
