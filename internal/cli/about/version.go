// Package about is the commands about matry itself: its version, and the meaning of its exit codes.
package about

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/install"
	"github.com/matryoshka-dev/matryoshka/internal/version"
)

// serverTimeout is how long the host cluster may take to say which version it has.
const serverTimeout = 2 * time.Second

// Versions is what `matry version -o json` prints.
type Versions struct {
	Client Client  `json:"client"`
	Server *Server `json:"server,omitempty"`
}

// Client is this program.
type Client struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	// KubernetesVersion of the virtual clusters that this build knows, and of the built-in kubectl.
	KubernetesVersion string `json:"kubernetesVersion"`
	GoVersion         string `json:"goVersion"`
	Platform          string `json:"platform"`
}

// Server is what is installed on the host cluster.
type Server struct {
	// AgentImage is the image of the agent; its tag is its version.
	AgentImage string `json:"agentImage,omitempty"`
	// Error says why it is not known.
	Error string `json:"error,omitempty"`
}

// NewVersion returns `matry version`.
func NewVersion(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	var format string
	var clientOnly bool
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of matry and of what is installed on the host cluster",
		Example: `  # Both
  matry version

  # This program only, without asking a cluster
  matry version --client -o json`,
		Args: arguments.None,
		RunE: func(command *cobra.Command, _ []string) error {
			versions := Versions{Client: thisProgram()}
			if !clientOnly {
				versions.Server = installed(command.Context(), target)
			}
			return show(streams, versions, format)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	command.Flags().StringVarP(&format, "output", "o", "", "output `format`: json, yaml")
	command.Flags().BoolVar(&clientOnly, "client", false, "do not ask the host cluster")
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return command
}

func thisProgram() Client {
	return Client{
		Version: version.Version, Commit: version.Commit, KubernetesVersion: clusterv1alpha1.KubernetesVersion,
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// installed asks the host cluster. That there is none is no error of this command.
func installed(ctx context.Context, target *hostcluster.Target) *Server {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	hostClient, err := target.Client()
	if err != nil {
		return &Server{Error: err.Error()}
	}
	agent := &appsv1.Deployment{}
	if err := hostClient.Get(ctx, client.ObjectKey{Namespace: install.Namespace, Name: install.AgentDeployment}, agent); err != nil {
		return &Server{Error: err.Error()}
	}
	if containers := agent.Spec.Template.Spec.Containers; len(containers) > 0 {
		return &Server{AgentImage: containers[0].Image}
	}
	return &Server{Error: "the agent has no container"}
}

func show(streams genericiooptions.IOStreams, versions Versions, format string) error {
	switch format {
	case "json":
		encoder := json.NewEncoder(streams.Out)
		encoder.SetIndent("", "    ")
		return encoder.Encode(versions)
	case "yaml":
		content, err := yaml.Marshal(versions)
		if err != nil {
			return fmt.Errorf("encode the versions: %w", err)
		}
		_, err = streams.Out.Write(content)
		return err
	case "":
	default:
		return exit.Usagef("-o: %q is not an output format; use json or yaml", format)
	}
	this := versions.Client
	fmt.Fprintf(streams.Out, "matry %s, Kubernetes %s, %s, %s\n", this.Version, this.KubernetesVersion, this.GoVersion, this.Platform)
	if server := versions.Server; server != nil {
		text := server.AgentImage
		if server.Error != "" {
			text = "unknown: " + server.Error
		}
		fmt.Fprintf(streams.Out, "agent %s\n", text)
	}
	return nil
}
