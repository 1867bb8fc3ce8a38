package noun

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// completionTimeout is how long a shell waits for names.
const completionTimeout = time.Second

func completionContext(command *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := command.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithTimeout(ctx, completionTimeout)
}

// CompleteNames offers the objects that the user may see, of kinds in namespaces those where -n or the kubeconfig says. A shell
// shows nothing of an error.
func (k *Kind[T]) CompleteNames(target *hostcluster.Target) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := Place{Target: target, Namespaced: k.Namespaced}
		// A command without the flag completes in the namespace of the kubeconfig.
		at.Namespace, _ = command.Flags().GetString("namespace")
		if at.Complete() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cluster, err := target.Client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := completionContext(command)
		defer cancel()
		items, err := k.list(ctx, cluster, selection{namespace: at.Namespace, selector: labels.Everything()})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		given := map[string]bool{}
		for _, arg := range args {
			given[arg] = true
		}
		var names []cobra.Completion
		for _, item := range items {
			if !given[item.GetName()] {
				names = append(names, cobra.CompletionWithDesc(item.GetName(), k.stateOf(item).Reason))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteOne is CompleteNames for commands that take one name.
func (k *Kind[T]) CompleteOne(target *hostcluster.Target) cobra.CompletionFunc {
	names := k.CompleteNames(target)
	return func(command *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(command, args, toComplete)
	}
}
