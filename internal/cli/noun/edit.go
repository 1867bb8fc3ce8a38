package noun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
)

type editOptions[T client.Object] struct {
	Place
	genericiooptions.IOStreams
	kind    *Kind[T]
	print   output.Flags
	dryRun  string
	wait    bool
	timeout time.Duration
}

// NewEdit returns the kind's command of `matry edit`.
func (k *Kind[T]) NewEdit(streams genericiooptions.IOStreams, target *hostcluster.Target, example string) *cobra.Command {
	o := &editOptions[T]{Place: Place{Target: target, Namespaced: k.Namespaced}, IOStreams: streams, kind: k}
	command := &cobra.Command{
		Use:     k.Singular + " NAME",
		Aliases: k.aliases(k.Singular),
		Short:   "Change " + withArticle(k.Title) + " in your editor",
		Long: "Change " + withArticle(k.Title) + " in the editor of $KUBE_EDITOR or $EDITOR, or else vi. Only what you change is written. What somebody\n" +
			"else has changed meanwhile stays; where both have changed the same, nothing is written and your text is kept in a file.",
		Example: example,
		Args:    arguments.One("the name of the " + k.Title),
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args[0])
		},
		ValidArgsFunction: k.CompleteOne(target),
	}
	addDryRun(command, &o.dryRun, false)
	if k.Conditions != nil {
		command.Flags().BoolVar(&o.wait, "wait", false, "wait until the "+k.Title+" is ready as changed")
		command.Flags().DurationVar(&o.timeout, "timeout", waitTimeout, "how long to wait")
	}
	o.AddFlag(command)
	o.print.AddFlags(command, hostcluster.Scheme, true)
	return command
}

func (o *editOptions[T]) run(ctx context.Context, name string) error {
	if err := o.print.Validate(true); err != nil {
		return err
	}
	if err := o.kind.ValidateName(name); err != nil {
		return err
	}
	if err := o.Complete(); err != nil {
		return err
	}
	cluster, err := o.Target.Client()
	if err != nil {
		return err
	}
	session := &editing{
		cluster: cluster, check: o.kind.Check, dryRun: o.dryRun == dryRunServer,
		original: &unstructured.Unstructured{}, open: openEditor,
	}
	session.original.SetGroupVersionKind(o.kind.Kind)
	key := client.ObjectKey{Namespace: o.Namespace, Name: name}
	if err := session.read(ctx, key); err != nil {
		return o.kind.Explain(fmt.Errorf("get %s %q: %w", o.kind.Title, o.kind.keyLabel(key), err), o.Namespace)
	}
	err = session.run(ctx)
	if errors.Is(err, errUnchanged) {
		fmt.Fprintf(o.ErrOut, "%s %q: %v\n", o.kind.Title, o.kind.keyLabel(key), err)
		return nil
	}
	if err != nil {
		err = fmt.Errorf("edit %s %q: %w", o.kind.Title, o.kind.keyLabel(key), err)
		if session.kept != "" {
			return exit.WithNext(err, "your text is in %s; `matry edit` again, and take from it what you need", session.kept)
		}
		return err
	}
	return o.finish(ctx, cluster, key)
}

func (o *editOptions[T]) finish(ctx context.Context, cluster client.WithWatch, key client.ObjectKey) error {
	object, err := o.kind.Get(ctx, cluster, key)
	if err != nil {
		return err
	}
	if o.wait && o.dryRun == dryRunNone {
		if object, err = o.kind.reportReady(ctx, cluster, o.ErrOut, object, o.timeout); err != nil {
			return err
		}
	}
	return o.kind.showChanged(o.Out, &o.print, []T{object}, "edited"+inDryRun(o.dryRun))
}

// removeFile removes a temporary file. That it stays is no harm that a person could do anything about.
func removeFile(path string) {
	if path != "" {
		_ = os.Remove(path)
	}
}
