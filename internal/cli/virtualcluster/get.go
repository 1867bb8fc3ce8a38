package virtualcluster

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
)

// pageSize bounds what one call of the host's API returns.
const pageSize = 500

type getOptions struct {
	place
	genericiooptions.IOStreams
	print         output.Flags
	allNamespaces bool
	selector      string
}

// NewGet returns the command "virtualclusters" of `matry get`.
func NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &getOptions{place: place{target: target}, IOStreams: streams}
	command := &cobra.Command{
		Use:     "virtualclusters [NAME...]",
		Aliases: append([]string{"virtualcluster"}, aliases...),
		Short:   "List virtual clusters, or show some of them",
		Example: `  # Those of one namespace
  matry get virtualclusters -n demo

  # All of the host cluster, with their IDs and addresses
  matry get vc -A -o wide

  # The state of one, for a script
  matry get vc hello -n demo -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'`,
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args)
		},
		ValidArgsFunction: CompleteNames(target),
	}
	command.Flags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "of all namespaces")
	command.Flags().StringVarP(&o.selector, "selector", "l", "", "`labels` to select by, such as team=web")
	o.addFlag(command)
	o.print.AddFlags(command, hostcluster.Scheme, true)
	return command
}

func (o *getOptions) run(ctx context.Context, names []string) error {
	selector, err := o.validate(names)
	if err != nil {
		return err
	}
	hostClient, err := o.target.Client()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return o.list(ctx, hostClient, selector)
	}
	found := &clusterv1alpha1.VirtualClusterList{}
	for _, name := range names {
		vc, err := Get(ctx, hostClient, client.ObjectKey{Namespace: o.namespace, Name: name})
		if err != nil {
			return err
		}
		found.Items = append(found.Items, *vc)
	}
	// One object that was asked for by name is printed as itself, as kubectl does.
	var object runtime.Object = found
	if len(names) == 1 {
		object = &found.Items[0]
	}
	return o.print.Print(o.Out, object, func() *metav1.Table { return table(found.Items, false) })
}

func (o *getOptions) validate(names []string) (client.ListOption, error) {
	if err := o.print.Validate(true); err != nil {
		return nil, err
	}
	if len(names) > 0 && (o.allNamespaces || o.selector != "") {
		return nil, exit.Usagef("a name cannot be combined with -A or -l: a name is searched in one namespace")
	}
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return nil, exit.Usagef("-l: %q is not a label selector: %v", o.selector, err)
	}
	return client.MatchingLabelsSelector{Selector: selector}, o.complete()
}

func (o *getOptions) list(ctx context.Context, hostClient client.Reader, selector client.ListOption) error {
	options := []client.ListOption{selector}
	if !o.allNamespaces {
		options = append(options, client.InNamespace(o.namespace))
	}
	found, err := list(ctx, hostClient, options...)
	if err != nil {
		return err
	}
	if len(found.Items) == 0 && o.print.IsTable() {
		where := fmt.Sprintf("in namespace %q", o.namespace)
		if o.allNamespaces {
			where = "in the host cluster"
		}
		fmt.Fprintf(o.ErrOut, "no virtual clusters %s; `matry create virtualcluster NAME` makes one\n", where)
		return nil
	}
	return o.print.Print(o.Out, found, func() *metav1.Table { return table(found.Items, o.allNamespaces) })
}

// list reads all pages.
func list(ctx context.Context, hostClient client.Reader, options ...client.ListOption) (*clusterv1alpha1.VirtualClusterList, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// A list without items is printed as an empty list, not as null.
	all := &clusterv1alpha1.VirtualClusterList{Items: []clusterv1alpha1.VirtualCluster{}}
	for next := ""; ; {
		page := &clusterv1alpha1.VirtualClusterList{}
		if err := hostClient.List(ctx, page, append(options, client.Limit(pageSize), client.Continue(next))...); err != nil {
			return nil, explain(fmt.Errorf("list virtual clusters: %w", err), "")
		}
		all.Items = append(all.Items, page.Items...)
		all.ResourceVersion = page.ResourceVersion
		if next = page.Continue; next == "" {
			return all, nil
		}
	}
}
