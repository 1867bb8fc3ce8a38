package virtualcluster

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

	clusterv1alpha1 "github.com/matryoshka-dev/matryoshka/api/cluster/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/cli/arguments"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/hostcluster"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

type deleteOptions struct {
	place
	genericiooptions.IOStreams
	yes, ignoreNotFound, wait bool
	timeout                   time.Duration
}

// NewDelete returns the command "virtualcluster" of `matry delete`.
func NewDelete(streams genericiooptions.IOStreams, target *hostcluster.Target) *cobra.Command {
	o := &deleteOptions{place: place{target: target}, IOStreams: streams}
	command := &cobra.Command{
		Use:     "virtualcluster NAME...",
		Aliases: aliases,
		Short:   "Delete virtual clusters with everything in them",
		Example: `  # Delete one and wait until nothing of it is left on the host
  matry delete virtualcluster hello -n demo

  # In a script: no question, and no error when it is gone already
  matry delete vc hello -n demo --yes --ignore-not-found`,
		Args:              arguments.Some("the name of a virtual cluster"),
		RunE:              func(command *cobra.Command, args []string) error { return o.run(command.Context(), args) },
		ValidArgsFunction: CompleteNames(target),
	}
	flags := command.Flags()
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask; without a terminal nothing is asked")
	flags.BoolVar(&o.ignoreNotFound, "ignore-not-found", false, "a virtual cluster that does not exist is no error")
	flags.BoolVar(&o.wait, "wait", true, "wait until nothing of it is left")
	flags.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait")
	o.addFlag(command)
	return command
}

func (o *deleteOptions) run(ctx context.Context, names []string) error {
	if err := o.complete(); err != nil {
		return err
	}
	hostClient, err := o.target.Client()
	if err != nil {
		return err
	}
	// All of them are looked at before one is deleted, so that a mistyped name changes nothing.
	var found []*clusterv1alpha1.VirtualCluster
	for _, name := range names {
		vc, err := Get(ctx, hostClient, client.ObjectKey{Namespace: o.namespace, Name: name})
		if apierrors.IsNotFound(err) && o.ignoreNotFound && !isNotInstalled(err) {
			continue
		}
		if err != nil {
			return err
		}
		found = append(found, vc)
	}
	for _, vc := range found {
		if err := o.confirm(client.ObjectKeyFromObject(vc)); err != nil {
			return err
		}
	}
	// They go at the same time: what takes long is to wait.
	for _, vc := range found {
		if err := o.delete(ctx, hostClient, vc); err != nil {
			return err
		}
	}
	for _, vc := range found {
		if err := o.waitGone(ctx, hostClient, vc); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(o.Out, "virtualcluster.%s/%s deleted\n", clusterv1alpha1.GroupVersion.Group, vc.Name); err != nil {
			return err
		}
	}
	return nil
}

func (o *deleteOptions) delete(ctx context.Context, hostClient client.Client, vc *clusterv1alpha1.VirtualCluster) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// The precondition keeps a new virtual cluster of the same name alive.
	err := hostClient.Delete(ctx, vc, client.Preconditions{UID: &vc.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete virtual cluster %q: %w", client.ObjectKeyFromObject(vc), err)
	}
	return nil
}

func (o *deleteOptions) waitGone(ctx context.Context, hostClient client.WithWatch, vc *clusterv1alpha1.VirtualCluster) error {
	if !o.wait {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	key := client.ObjectKeyFromObject(vc)
	return progress.New(o.ErrOut).Phase(ctx, fmt.Sprintf("virtual cluster %s is gone", key), func(ctx context.Context, _ func(string)) error {
		return waitDeleted(ctx, hostClient, key, vc.UID)
	})
}

// confirm asks a person at a terminal. A script is not asked.
func (o *deleteOptions) confirm(key client.ObjectKey) error {
	input, isFile := o.In.(*os.File)
	if o.yes || !isFile || !term.IsTerminal(int(input.Fd())) {
		return nil
	}
	fmt.Fprintf(o.ErrOut, "Delete virtual cluster %s with everything in it, its data too? [y/N] ", key)
	answer, err := bufio.NewReader(io.LimitReader(o.In, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
		return nil
	}
	return &exit.Error{Code: exit.Interrupted, Err: fmt.Errorf("virtual cluster %q was not deleted", key)}
}
