package virtualcluster

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// completionTimeout is how long a shell waits for names.
const completionTimeout = time.Second

// CompleteNames offers the virtual clusters of the namespace that -n or the kubeconfig names.
func CompleteNames(target *hostcluster.Target) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := place{target: target}
		// A command without the flag completes in the namespace of the kubeconfig.
		at.namespace, _ = command.Flags().GetString("namespace")
		if at.complete() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list := &clusterv1alpha1.VirtualClusterList{}
		if !listFor(command.Context(), target, list, client.InNamespace(at.namespace)) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		given := map[string]bool{}
		for _, arg := range args {
			given[arg] = true
		}
		var names []cobra.Completion
		for _, vc := range list.Items {
			if !given[vc.Name] {
				names = append(names, cobra.CompletionWithDesc(vc.Name, stateOf(&vc).reason))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteNamespaces offers the namespaces of the host cluster.
func CompleteNamespaces(target *hostcluster.Target) cobra.CompletionFunc {
	return func(command *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		list := &corev1.NamespaceList{}
		if !listFor(command.Context(), target, list) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := make([]cobra.Completion, 0, len(list.Items))
		for _, namespace := range list.Items {
			names = append(names, namespace.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// listFor lists for a shell, which shows nothing of an error.
func listFor(ctx context.Context, target *hostcluster.Target, list client.ObjectList, options ...client.ListOption) bool {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	hostClient, err := target.Client()
	return err == nil && hostClient.List(ctx, list, options...) == nil
}
