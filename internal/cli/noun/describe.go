package noun

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
)

// NewDescribe returns the kind's command of `matry describe`.
func (k *Kind[T]) NewDescribe(streams genericiooptions.IOStreams, target *hostcluster.Target, short, example string) *cobra.Command {
	at := Place{Target: target, Namespaced: k.Namespaced}
	command := &cobra.Command{
		Use:     k.Singular + " NAME",
		Aliases: k.aliases(k.Singular),
		Short:   short,
		Example: example,
		Args:    arguments.One("the name of the " + k.Title),
		RunE: func(command *cobra.Command, args []string) error {
			if err := at.Complete(); err != nil {
				return err
			}
			cluster, err := target.Client()
			if err != nil {
				return err
			}
			return k.describe(command.Context(), streams.Out, cluster, client.ObjectKey{Namespace: at.Namespace, Name: args[0]})
		},
		ValidArgsFunction: k.CompleteOne(target),
	}
	at.AddFlag(command)
	return command
}

func (k *Kind[T]) describe(ctx context.Context, w io.Writer, cluster client.Reader, key client.ObjectKey) error {
	object, err := k.Get(ctx, cluster, key)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := [][2]string{{"Name", object.GetName()}}
	if k.Namespaced {
		lines = append(lines, [2]string{"Namespace", object.GetNamespace()})
	}
	lines = append(lines, [2]string{"Age", Age(object.GetCreationTimestamp())})
	if k.Conditions != nil {
		lines = append(lines, [2]string{"State", k.stateOf(object).Text()})
	}
	if k.Lines != nil {
		lines = append(lines, k.Lines(object)...)
	}
	for _, line := range lines {
		fmt.Fprintf(out, "%s:\t%s\n", line[0], line[1])
	}
	if next, isStuck := k.advice(object); isStuck {
		fmt.Fprintf(out, "Next:\t%s\n", next)
	}
	if k.Conditions != nil {
		DescribeConditions(out, k.Conditions(object))
	}
	if k.More != nil {
		k.More(ctx, out, cluster, object)
	}
	DescribeEvents(ctx, out, cluster, object)
	return out.Flush()
}

// DescribeConditions shows the conditions of an object.
func DescribeConditions(w io.Writer, conditions []metav1.Condition) {
	fmt.Fprintln(w, "Conditions:")
	if len(conditions) == 0 {
		fmt.Fprintln(w, "  none: the agent has not seen it yet; does it run? `matry status`")
		return
	}
	fmt.Fprintln(w, "  TYPE\tSTATUS\tSINCE\tREASON\tMESSAGE")
	for _, c := range conditions {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", c.Type, c.Status, Age(c.LastTransitionTime), c.Reason, c.Message)
	}
}

// mostEvents keeps the answer readable.
const mostEvents = 20

// DescribeEvents shows what happened to an object, the newest first. Those of objects without a namespace are in "default".
func DescribeEvents(ctx context.Context, w io.Writer, cluster client.Reader, object client.Object) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	events := &corev1.EventList{}
	err := cluster.List(ctx, events, client.InNamespace(namespace), client.Limit(pageSize),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("involvedObject.uid", string(object.GetUID()))})
	fmt.Fprintln(w, "Events:")
	if err != nil {
		fmt.Fprintf(w, "  not shown: %v\n", err)
		return
	}
	if len(events.Items) == 0 {
		fmt.Fprintln(w, "  none")
		return
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return LastSeen(&b).Compare(LastSeen(&a).Time) })
	fmt.Fprintln(w, "  LAST SEEN\tTYPE\tREASON\tMESSAGE")
	for _, event := range events.Items[:min(len(events.Items), mostEvents)] {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", Age(LastSeen(&event)), event.Type, event.Reason, event.Message)
	}
}
