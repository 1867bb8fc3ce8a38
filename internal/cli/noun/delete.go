package noun

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

type deleteOptions[T client.Object] struct {
	Place
	genericiooptions.IOStreams
	kind                      *Kind[T]
	consequence               string
	dryRun                    string
	yes, ignoreNotFound, wait bool
	timeout                   time.Duration
}

// NewDelete returns the kind's command of `matry delete`. The consequence is what goes with an object, such as "everything in it".
func (k *Kind[T]) NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target, consequence, example string) *cobra.Command {
	o := &deleteOptions[T]{
		Place: Place{Target: target, Namespaced: k.Namespaced}, IOStreams: streams, kind: k, consequence: consequence,
	}
	short := "Delete " + k.Titles
	if consequence != "" {
		short += " with " + consequence
	}
	command := &cobra.Command{
		Use:               k.Singular + " NAME...",
		Aliases:           k.aliases(k.Singular),
		Short:             short,
		Example:           example,
		Args:              arguments.Some("the name of " + withArticle(k.Title)),
		RunE:              func(command *cobra.Command, args []string) error { return o.run(command.Context(), args) },
		ValidArgsFunction: k.CompleteNames(target),
	}
	flags := command.Flags()
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask; without a terminal nothing is asked")
	flags.BoolVar(&o.ignoreNotFound, "ignore-not-found", false, withArticle(k.Title)+" that does not exist is no error")
	flags.BoolVar(&o.wait, "wait", true, "wait until nothing of it is left")
	flags.DurationVar(&o.timeout, "timeout", waitTimeout, "how long to wait")
	addDryRun(command, &o.dryRun, false)
	o.AddFlag(command)
	return command
}

func (o *deleteOptions[T]) run(ctx context.Context, names []string) error {
	if err := o.Complete(); err != nil {
		return err
	}
	cluster, err := o.Target.Client()
	if err != nil {
		return err
	}
	// All of them are looked at before one is deleted, so that a mistyped name changes nothing.
	var found []T
	for _, name := range names {
		object, err := o.kind.Get(ctx, cluster, client.ObjectKey{Namespace: o.Namespace, Name: name})
		if apierrors.IsNotFound(err) && o.ignoreNotFound && !IsNotInstalled(err) {
			continue
		}
		if err != nil {
			return err
		}
		found = append(found, object)
	}
	for _, object := range found {
		if err := o.confirm(object); err != nil {
			return err
		}
	}
	// They go at the same time: what takes long is to wait.
	for _, object := range found {
		if err := o.delete(ctx, cluster, object); err != nil {
			return err
		}
	}
	for _, object := range found {
		if err := o.waitGone(ctx, cluster, object); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(o.Out, o.kind.done(object, "deleted"+inDryRun(o.dryRun))); err != nil {
			return err
		}
	}
	return nil
}

func (o *deleteOptions[T]) delete(ctx context.Context, cluster client.Client, object T) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// The precondition keeps a new object of the same name alive.
	uid := object.GetUID()
	options := []client.DeleteOption{client.Preconditions{UID: &uid}}
	if o.dryRun == dryRunServer {
		options = append(options, client.DryRunAll)
	}
	err := cluster.Delete(ctx, object, options...)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %q: %w", o.kind.Title, o.kind.label(object), err)
	}
	return nil
}

func (o *deleteOptions[T]) waitGone(ctx context.Context, cluster client.WithWatch, object T) error {
	if !o.wait || o.dryRun != dryRunNone {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	phase := o.kind.Title + " " + o.kind.label(object) + " is gone"
	return progress.New(o.ErrOut).Phase(ctx, phase, func(ctx context.Context, _ func(string)) error {
		return o.kind.waitGone(ctx, cluster, object)
	})
}

// confirm asks a person at a terminal. A script is not asked.
func (o *deleteOptions[T]) confirm(object T) error {
	input, isFile := o.In.(*os.File)
	if o.yes || o.dryRun != dryRunNone || !isFile || !term.IsTerminal(int(input.Fd())) {
		return nil
	}
	question := "Delete " + o.kind.Title + " " + o.kind.label(object)
	if o.consequence != "" {
		question += " with " + o.consequence
	}
	fmt.Fprintf(o.ErrOut, "%s? [y/N] ", question)
	answer, err := bufio.NewReader(io.LimitReader(o.In, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
		return nil
	}
	return &exit.Error{Code: exit.Interrupted, Err: fmt.Errorf("%s %q was not deleted", o.kind.Title, o.kind.label(object))}
}
