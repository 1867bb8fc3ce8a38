package noun

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
)

type getOptions[T client.Object] struct {
	Place
	genericiooptions.IOStreams
	kind          *Kind[T]
	print         output.Flags
	allNamespaces bool
	selector      string
}

// NewGet returns the kind's command of `matry get`.
func (k *Kind[T]) NewGet(streams genericiooptions.IOStreams, target *hostcluster.Target, example string) *cobra.Command {
	o := &getOptions[T]{Place: Place{Target: target, Namespaced: k.Namespaced}, IOStreams: streams, kind: k}
	command := &cobra.Command{
		Use:     k.Plural + " [NAME...]",
		Aliases: k.aliases(k.Plural),
		Short:   "List " + k.Titles + ", or show some of them",
		Example: example,
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args)
		},
		ValidArgsFunction: k.CompleteNames(target),
	}
	if k.Namespaced {
		command.Flags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "of all namespaces that you may see; so it is without -n")
	}
	command.Flags().StringVarP(&o.selector, "selector", "l", "", "`labels` to select by, such as team=web")
	o.AddFlag(command)
	o.print.AddFlags(command, hostcluster.Scheme, true)
	return command
}

func (o *getOptions[T]) run(ctx context.Context, names []string) error {
	what, err := o.validate(names)
	if err != nil {
		return err
	}
	cluster, err := o.Target.Client()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return o.list(ctx, cluster, what)
	}
	found := make([]T, 0, len(names))
	for _, name := range names {
		object, err := o.kind.Get(ctx, cluster, client.ObjectKey{Namespace: o.Namespace, Name: name})
		if err != nil {
			return err
		}
		found = append(found, object)
	}
	// One object that was asked for by name is printed as itself, as kubectl does.
	if len(names) == 1 {
		return o.show(found[0], found, false)
	}
	return o.showList(found, false)
}

func (o *getOptions[T]) validate(names []string) (selection, error) {
	if err := o.print.Validate(true); err != nil {
		return selection{}, err
	}
	if len(names) > 0 && o.allNamespaces {
		return selection{}, exit.Usagef("a name cannot be combined with -A: a name is searched in one namespace")
	}
	if len(names) > 0 && o.selector != "" {
		return selection{}, exit.Usagef("a name cannot be combined with -l: it selects one object already")
	}
	if o.Namespace != "" && o.allNamespaces {
		return selection{}, exit.Usagef("-n and -A exclude each other")
	}
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return selection{}, exit.Usagef("-l: %q is not a label selector: %v", o.selector, err)
	}
	if len(names) > 0 {
		return selection{}, o.Complete()
	}
	return selection{namespace: o.Namespace, selector: selector}, nil
}

func (o *getOptions[T]) list(ctx context.Context, cluster client.Client, what selection) error {
	found, err := o.kind.list(ctx, cluster, what)
	if err != nil {
		return err
	}
	if len(found) == 0 && o.print.IsTable() {
		where := "that you may see"
		if what.namespace != "" {
			where = fmt.Sprintf("in namespace %q", what.namespace)
		}
		fmt.Fprintf(o.ErrOut, "no %s %s; `matry create %s NAME` makes one\n", o.kind.Titles, where, o.kind.Singular)
		return nil
	}
	return o.showList(found, o.kind.Namespaced && what.namespace == "")
}

func (o *getOptions[T]) showList(items []T, withNamespace bool) error {
	list, err := o.kind.listOf(items)
	if err != nil {
		return err
	}
	return o.show(list, items, withNamespace)
}

func (o *getOptions[T]) show(object runtime.Object, items []T, withNamespace bool) error {
	return o.print.Print(o.Out, object, func() *metav1.Table { return o.kind.Table(items, withNamespace) })
}

// Table makes the columns of `matry get`. Their names are stable: scripts read them.
func (k *Kind[T]) Table(items []T, withNamespace bool) *metav1.Table {
	all := append([]Column[T]{{Name: "Name", Cell: func(object T) string { return object.GetName() }}}, k.Columns...)
	if withNamespace {
		all = append([]Column[T]{{Name: "Namespace", Cell: func(object T) string { return object.GetNamespace() }}}, all...)
	}
	table := &metav1.Table{}
	for _, column := range all {
		definition := metav1.TableColumnDefinition{Name: column.Name, Type: "string"}
		if column.Wide {
			definition.Priority = 1
		}
		table.ColumnDefinitions = append(table.ColumnDefinitions, definition)
	}
	for _, item := range items {
		row := metav1.TableRow{}
		for _, column := range all {
			row.Cells = append(row.Cells, OrNone(column.Cell(item)))
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}
