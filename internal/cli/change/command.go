package change

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/await"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/noun"
	"github.com/matryoshka-dev/matryoshka/internal/cli/output"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

const (
	callTimeout = 30 * time.Second
	waitTimeout = 3 * time.Minute

	dryRunNone   = "none"
	dryRunServer = "server"
)

// Verb is what one command does to an object.
type Verb struct {
	// Past is the word for what it has done.
	Past string
	// Patch is what it writes: merged into the object.
	Patch func(object client.Object, now time.Time) (map[string]any, error)
	// Done tells whether what was asked for is so; nil where there is nothing to wait for.
	Done func(object client.Object) bool
	// Phase is what is waited for, in words.
	Phase string
	// Detail is how far it is, in a word, while it is waited for. Nil tells nothing.
	Detail func(object client.Object) string
}

type options[T client.Object] struct {
	noun.Place
	genericiooptions.IOStreams
	kind    *noun.Kind[T]
	verb    Verb
	print   output.Flags
	dryRun  string
	wait    bool
	timeout time.Duration
}

// NewCommand returns the command that does something to one object of a kind.
func NewCommand[T client.Object](streams genericiooptions.IOStreams, target *hostcluster.Target, kind *noun.Kind[T], verb Verb, short, example string) *cobra.Command {
	o := &options[T]{
		Place: noun.Place{Target: target, Namespaced: kind.Namespaced}, IOStreams: streams, kind: kind, verb: verb, dryRun: dryRunNone,
	}
	command := &cobra.Command{
		Use:               kind.Singular + " NAME",
		Aliases:           append([]string{kind.Plural}, kind.Aliases...),
		Short:             short,
		Example:           example,
		Args:              arguments.One("the name of the " + kind.Title),
		RunE:              func(command *cobra.Command, args []string) error { return o.run(command.Context(), args[0]) },
		ValidArgsFunction: kind.CompleteOne(target),
	}
	noun.Choice(command, &o.dryRun, "dry-run", "let the API server check it, and change nothing ("+dryRunNone+", "+dryRunServer+")", dryRunNone, dryRunServer)
	if verb.Done != nil {
		command.Flags().BoolVar(&o.wait, "wait", false, "wait until the "+kind.Title+" "+verb.Phase)
		command.Flags().DurationVar(&o.timeout, "timeout", waitTimeout, "how long to wait")
	}
	o.AddFlag(command)
	o.print.AddFlags(command, hostcluster.Scheme, true)
	return command
}

func (o *options[T]) run(ctx context.Context, name string) error {
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
	object, err := o.kind.Get(ctx, cluster, client.ObjectKey{Namespace: o.Namespace, Name: name})
	if err != nil {
		return err
	}
	if object, err = o.patch(ctx, cluster, object); err != nil {
		return err
	}
	if o.wait && o.dryRun == dryRunNone {
		if object, err = o.await(ctx, cluster, object); err != nil {
			return err
		}
	}
	return o.show(object)
}

// patch changes exactly the object that was read. What others change at the same time stays.
func (o *options[T]) patch(ctx context.Context, cluster client.Client, object T) (T, error) {
	content, err := o.verb.Patch(object, time.Now())
	if err != nil {
		return object, fmt.Errorf("%s %q: %w", o.kind.Title, o.label(object), err)
	}
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["uid"] = object.GetUID()
	body, err := json.Marshal(content)
	if err != nil {
		return object, fmt.Errorf("encode the change of %s %q: %w", o.kind.Title, o.label(object), err)
	}
	var dryRun []client.PatchOption
	if o.dryRun == dryRunServer {
		dryRun = append(dryRun, client.DryRunAll)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := cluster.Patch(ctx, object, client.RawPatch(types.MergePatchType, body), dryRun...); err != nil {
		return object, o.kind.Explain(fmt.Errorf("change %s %q: %w", o.kind.Title, o.label(object), err), o.Namespace)
	}
	object.GetObjectKind().SetGroupVersionKind(o.kind.Kind)
	return object, nil
}

func (o *options[T]) await(ctx context.Context, cluster client.WithWatch, object T) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	last := object
	err := progress.New(o.ErrOut).Phase(ctx, o.kind.Title+" "+o.label(object)+" "+o.verb.Phase, func(ctx context.Context, detail func(string)) error {
		return await.Until(ctx, cluster, client.ObjectKeyFromObject(object), o.kind.EmptyList(), func(now T, exists bool) (bool, error) {
			if !exists {
				return false, &exit.Error{Code: exit.NotFound, Err: fmt.Errorf("%s %q was deleted", o.kind.Title, o.label(object))}
			}
			last = now
			if o.verb.Detail != nil {
				detail(o.verb.Detail(now))
			}
			return o.verb.Done(now), nil
		})
	})
	if err != nil {
		return object, exit.WithNext(fmt.Errorf("wait until %s %q %s: %w", o.kind.Title, o.label(object), o.verb.Phase, err),
			"`matry describe %s %s` shows why", o.kind.Singular, object.GetName())
	}
	last.GetObjectKind().SetGroupVersionKind(o.kind.Kind)
	return last, nil
}

func (o *options[T]) label(object T) string {
	if o.kind.Namespaced {
		return object.GetNamespace() + "/" + object.GetName()
	}
	return object.GetName()
}

func (o *options[T]) show(object T) error {
	if o.print.Format != "" {
		return o.print.Print(o.Out, object, func() *metav1.Table { return o.kind.Table([]T{object}, o.kind.Namespaced) })
	}
	what := o.verb.Past
	if o.dryRun == dryRunServer {
		what += " (server dry run)"
	}
	_, err := fmt.Fprintf(o.Out, "%s.%s/%s %s\n", o.kind.Singular, o.kind.Kind.Group, object.GetName(), what)
	return err
}
