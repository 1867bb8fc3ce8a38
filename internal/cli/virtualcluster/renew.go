package virtualcluster

import (
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/change"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// NewRenew returns the command "virtualcluster" of `matry renew`.
func NewRenew(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	command := change.NewCommand(streams, target, Kind, renew(), "Make the credentials of a virtual cluster anew; older ones are refused from then on", `  # Somebody has a kubeconfig who should not have it any more
  matry renew virtualcluster hello -n demo --wait

  # Would it be taken?
  matry renew vc hello -n demo --dry-run server`)
	command.Long = command.Short + ".\n\n" +
		"Kubeconfigs, certificates that the virtual cluster has signed and tokens of its ServiceAccounts that were made before count no\n" +
		"more. Its API server is restarted; pods get new tokens within two minutes. `matry kubeconfig` and `matry connect` take the new\n" +
		"credentials. Who may read the Secret of the kubeconfig can take them, too: take that right away first."
	return command
}

func renew() change.Verb {
	return change.Verb{
		Past: "asked to renew its credentials", Phase: "has new credentials",
		Patch: func(_ client.Object, now time.Time) (map[string]any, error) {
			return map[string]any{"spec": map[string]any{"renewCredentials": now.UTC().Format(time.RFC3339)}}, nil
		},
		Done: func(object client.Object) bool {
			vc, ok := object.(*clusterv1alpha1.VirtualCluster)
			return ok && vc.Spec.RenewCredentials.Equal(vc.Status.CredentialsRenewed)
		},
	}
}
