package noun

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
)

// Maker is how objects of a kind come from flags.
type Maker[T client.Object] struct {
	Short, Example string
	// AddFlags adds the flags of the spec. Nil when the kind is made from files only.
	AddFlags func(command *cobra.Command)
	// Object makes the object from the flags; its name and namespace are set by the caller. Nil when the kind is made from files only.
	Object func() (T, error)
	// Fill fills in what the cluster knows. Nil fills nothing in.
	Fill func(ctx context.Context, cluster client.Client, object T) error
	// Prepare makes what must be there before the object; a dry run leaves it out. Nil prepares nothing.
	Prepare func(ctx context.Context, cluster client.Client, object T) error
	// NoNamespace is what to do when the namespace does not exist, for kinds that live in one.
	NoNamespace string
	// Next is the command to go on with. Nil says nothing.
	Next func(object T) string
}

type createOptions[T client.Object] struct {
	Place
	genericiooptions.IOStreams
	kind  *Kind[T]
	maker Maker[T]
	print output.Flags
	own   []*pflag.Flag

	file    string
	dryRun  string
	wait    bool
	timeout time.Duration
}

// NewCreate returns the kind's command of `matry create`.
func (k *Kind[T]) NewCreate(streams genericiooptions.IOStreams, target *hostcluster.Target, maker Maker[T]) *cobra.Command {
	o := &createOptions[T]{Place: Place{Target: target, Namespaced: k.Namespaced}, IOStreams: streams, kind: k, maker: maker}
	use := k.Singular + " NAME"
	if maker.Object == nil {
		use = k.Singular + " -f FILE"
	}
	command := &cobra.Command{
		Use:     use,
		Aliases: k.aliases(k.Singular),
		Short:   maker.Short,
		Example: maker.Example,
		Args:    o.validateArguments,
		RunE: func(command *cobra.Command, args []string) error {
			return o.run(command.Context(), args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	if maker.AddFlags != nil {
		maker.AddFlags(command)
		command.Flags().VisitAll(func(flag *pflag.Flag) { o.own = append(o.own, flag) })
	}
	flags := command.Flags()
	flags.StringVarP(&o.file, "filename", "f", "", "`file` with objects of this kind, as YAML or JSON; - is standard input")
	addDryRun(command, &o.dryRun, true)
	if k.Conditions != nil {
		flags.BoolVar(&o.wait, "wait", true, "wait until the "+k.Title+" is ready")
		flags.DurationVar(&o.timeout, "timeout", waitTimeout, "how long to wait")
	}
	o.AddFlag(command)
	o.print.AddFlags(command, hostcluster.Scheme, true)
	return command
}

func (o *createOptions[T]) validateArguments(command *cobra.Command, args []string) error {
	if o.file != "" && len(args) > 0 {
		return exit.Usagef("a name cannot be combined with -f: the file names the objects")
	}
	if o.file != "" {
		for _, flag := range o.own {
			if flag.Changed {
				return exit.Usagef("--%s cannot be combined with -f: the file says everything", flag.Name)
			}
		}
		return nil
	}
	if o.maker.Object == nil {
		return exit.Usagef("%q needs -f FILE: %s is made from a file", command.CommandPath(), withArticle(o.kind.Title))
	}
	return arguments.One("the name of the "+o.kind.Title)(command, args)
}

func (o *createOptions[T]) run(ctx context.Context, args []string) error {
	if err := o.print.Validate(true); err != nil {
		return err
	}
	objects, err := o.objects(args)
	if err != nil {
		return err
	}
	cluster, err := o.Target.Client()
	if err != nil && (o.dryRun != dryRunClient || o.maker.Fill != nil) {
		return err
	}
	for i, object := range objects {
		if objects[i], err = o.create(ctx, cluster, object); err != nil {
			return err
		}
	}
	for i, object := range objects {
		if objects[i], err = o.awaitReady(ctx, cluster, object); err != nil {
			return err
		}
	}
	return o.show(objects)
}

// objects are those of the file, or the one of the arguments.
func (o *createOptions[T]) objects(args []string) ([]T, error) {
	if err := o.Complete(); err != nil {
		return nil, err
	}
	if o.file != "" {
		return o.kind.fromFile(o.In, o.file, o.Namespace)
	}
	name := args[0]
	if err := o.kind.ValidateName(name); err != nil {
		return nil, err
	}
	object, err := o.maker.Object()
	if err != nil {
		return nil, err
	}
	object.SetName(name)
	object.SetNamespace(o.Namespace)
	object.GetObjectKind().SetGroupVersionKind(o.kind.Kind)
	return []T{object}, nil
}

func (o *createOptions[T]) create(ctx context.Context, cluster client.Client, object T) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if o.maker.Fill != nil {
		if err := o.maker.Fill(ctx, cluster, object); err != nil {
			return object, err
		}
	}
	options := []client.CreateOption{client.FieldOwner(fieldOwner), client.FieldValidation("Strict")}
	switch o.dryRun {
	case dryRunClient:
		return object, nil
	case dryRunServer:
		options = append(options, client.DryRunAll)
	}
	if o.maker.Prepare != nil && o.dryRun == dryRunNone {
		if err := o.maker.Prepare(ctx, cluster, object); err != nil {
			return object, err
		}
	}
	err := cluster.Create(ctx, object, options...)
	object.GetObjectKind().SetGroupVersionKind(o.kind.Kind)
	label := o.kind.label(object)
	switch {
	case err == nil:
		return object, nil
	case apierrors.IsAlreadyExists(err):
		return object, exit.WithNext(fmt.Errorf("create %s %q: it already exists", o.kind.Title, label),
			"choose another name, or see it with `%s`", o.kind.command("get", object))
	case apierrors.IsNotFound(err) && o.kind.Namespaced && !IsNotInstalled(err):
		return object, exit.WithNext(fmt.Errorf("create %s %q: %w", o.kind.Title, label, err), "%s", o.maker.NoNamespace)
	case apierrors.IsForbidden(err):
		return object, fmt.Errorf("create %s %q: %w", o.kind.Title, label, err)
	}
	return object, o.kind.Explain(fmt.Errorf("create %s %q: %w", o.kind.Title, label, err), object.GetNamespace())
}

func (o *createOptions[T]) awaitReady(ctx context.Context, cluster client.WithWatch, object T) (T, error) {
	if !o.wait || o.dryRun != dryRunNone {
		return object, nil
	}
	return o.kind.reportReady(ctx, cluster, o.ErrOut, object, o.timeout)
}

func (o *createOptions[T]) show(objects []T) error {
	if o.dryRun == dryRunNone && o.wait && o.maker.Next != nil {
		for _, object := range objects {
			if next := o.maker.Next(object); next != "" {
				fmt.Fprintf(o.ErrOut, "next: %s\n", next)
			}
		}
	}
	return o.kind.showChanged(o.Out, &o.print, objects, "created"+inDryRun(o.dryRun))
}

// fieldOwner is the field manager of what matry writes.
const fieldOwner = "matry"
