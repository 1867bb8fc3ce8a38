package noun

import (
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// Place is where the objects of a command are: the host cluster and, for kinds that live in namespaces, -n.
type Place struct {
	Target     *hostcluster.Target
	Namespaced bool
	// Namespace as given by -n, or as Complete has filled it in.
	Namespace string
}

// AddFlag adds -n for kinds that live in namespaces.
func (p *Place) AddFlag(command *cobra.Command) {
	if !p.Namespaced {
		return
	}
	command.Flags().StringVarP(&p.Namespace, "namespace", "n", "", "`namespace` of the host cluster (default that of the kubeconfig's context)")
	// The error is a programming error: the flag is added one line above.
	_ = command.RegisterFlagCompletionFunc("namespace", CompleteNamespaces(p.Target))
}

// Complete fills the namespace in.
func (p *Place) Complete() error {
	if !p.Namespaced || p.Namespace != "" {
		return nil
	}
	namespace, err := p.Target.Namespace()
	if err != nil {
		return err
	}
	p.Namespace = namespace
	return nil
}

// CompleteNamespaces offers the namespaces of the host cluster, or those of the spaces that the user has.
func CompleteNamespaces(target *hostcluster.Target) cobra.CompletionFunc {
	return func(command *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := completionContext(command)
		defer cancel()
		cluster, err := target.Client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list := &corev1.NamespaceList{}
		if err := cluster.List(ctx, list); err != nil {
			mine, err := mySpaces(ctx, cluster)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return mine.Sorted(), cobra.ShellCompDirectiveNoFileComp
		}
		names := make([]cobra.Completion, 0, len(list.Items))
		for _, namespace := range list.Items {
			names = append(names, namespace.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
