package embeddedhost

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/host/control"
	"github.com/matryoshka-dev/matryoshka/internal/image"
)

// NewLoad returns `matry load`.
func NewLoad(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	group := &cobra.Command{
		Use:   "load",
		Short: "Bring something onto the embedded host",
		Example: `  # An image that Docker has built
  docker save shop:v1 -o shop.tar && sudo matry load image shop.tar`,
	}
	return arguments.Group(group, newLoadImage(streams, target))
}

func newLoadImage(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	return &cobra.Command{
		Use:   "image FILE.tar",
		Short: "Import the images of an archive, so that pods can use them without a registry",
		Example: `  # An archive of docker save, or an OCI layout as a tar
  sudo matry load image shop.tar

  # What is there now
  sudo matry load image shop.tar && matry kubectl get nodes -o jsonpath='{.items[*].status.images[*].names}'`,
		Args: arguments.One("the archive to import"),
		RunE: func(command *cobra.Command, args []string) error {
			if target.Kubeconfig != "" || target.Context != "" {
				return exit.Usagef("%w", errNotTarget)
			}
			if err := image.CheckArchive(args[0]); err != nil {
				return exit.Usagef("load image: %w", err)
			}
			if err := needRoot(command); err != nil {
				return err
			}
			images, err := control.LoadImage(command.Context(), target.EmbeddedDataDir(), args[0])
			if errors.Is(err, control.ErrNotRunning) {
				return &exit.Error{Code: exit.NotFound, Err: err, Next: "`matry up`"}
			}
			if err != nil {
				return err
			}
			for _, reference := range images {
				fmt.Fprintln(streams.Out, reference)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"tar"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
}
