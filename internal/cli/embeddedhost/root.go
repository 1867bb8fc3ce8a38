package embeddedhost

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
)

// needRoot refuses to begin what only root can end.
func needRoot(command *cobra.Command) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &exit.Error{
		Code: exit.Forbidden,
		Err:  fmt.Errorf("%q needs root: the embedded host makes network namespaces, mounts and cgroups", command.CommandPath()),
		Next: fmt.Sprintf("`sudo %s`", command.CommandPath()),
	}
}

// errNotTarget is what the commands about the embedded host say when another cluster was chosen for them.
var errNotTarget = errors.New("this command is about the embedded host: it takes --data-dir, not --kubeconfig or --context")
