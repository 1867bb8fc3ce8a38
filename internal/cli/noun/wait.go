package noun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/cli/await"
	"github.com/matryoshka-dev/matryoshka/internal/cli/exit"
	"github.com/matryoshka-dev/matryoshka/internal/cli/progress"
)

// stuckFor is how long a state that time does not cure may stand before waiting ends: a limit may be about to get room.
const stuckFor = 2 * time.Second

// WaitReady waits until the object is ready and tells detail what it waits for. It ends early for a reason that the kind has
// advice for.
func (k *Kind[T]) WaitReady(ctx context.Context, cluster client.WithWatch, key client.ObjectKey, detail func(string)) (T, error) {
	watch := &readiness[T]{kind: k, detail: detail, label: k.keyLabel(key)}
	err := await.Until(ctx, cluster, key, k.EmptyList(), watch.look)
	for errors.Is(err, errPerhapsStuck) {
		err = watch.grace(ctx, cluster, key)
	}
	if err == nil {
		return watch.last, nil
	}
	var none T
	if watch.stuck {
		next, _ := k.advice(watch.last)
		return none, exit.WithNext(err, "%s", next)
	}
	if watch.seen && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w; the last state was %s", err, k.stateOf(watch.last).Text())
	}
	named := k.Empty()
	named.SetName(key.Name)
	named.SetNamespace(key.Namespace)
	return none, exit.WithNext(fmt.Errorf("wait until %s %q is ready: %w", k.Title, k.keyLabel(key), err),
		"`%s` shows what it waits for", k.command("describe", named))
}

// errPerhapsStuck ends a wait for the time of stuckFor.
var errPerhapsStuck = errors.New("it is not ready for a reason that time does not cure")

// readiness is what one wait has seen.
type readiness[T client.Object] struct {
	kind   *Kind[T]
	detail func(string)
	label  string

	last        T
	seen, stuck bool
}

// look is the condition of the wait.
func (r *readiness[T]) look(object T, exists bool) (bool, error) {
	if !exists {
		return false, &exit.Error{Code: exit.NotFound, Err: errors.New("it was deleted, or is not yours any more")}
	}
	r.last, r.seen = object, true
	now := r.kind.stateOf(object)
	if now.Ready || slices.Contains(r.kind.Wanted, now.Reason) {
		return true, nil
	}
	r.detail(now.Text())
	if _, isStuck := r.kind.advice(object); isStuck {
		return false, errPerhapsStuck
	}
	return false, nil
}

// grace waits on for a while, in which the state may pass.
func (r *readiness[T]) grace(ctx context.Context, cluster client.WithWatch, key client.ObjectKey) error {
	short, cancel := context.WithTimeout(ctx, stuckFor)
	defer cancel()
	err := await.Until(short, cluster, key, r.kind.EmptyList(), func(object T, exists bool) (bool, error) {
		done, err := r.look(object, exists)
		if errors.Is(err, errPerhapsStuck) {
			return false, nil
		}
		return done, err
	})
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, isStuck := r.kind.advice(r.last); isStuck {
		r.stuck = true
		return r.kind.stuck(r.last)
	}
	return await.Until(ctx, cluster, key, r.kind.EmptyList(), r.look)
}

// reportReady is WaitReady with a line for the person who waits.
func (k *Kind[T]) reportReady(ctx context.Context, cluster client.WithWatch, errOut io.Writer, object T, timeout time.Duration) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ready := object
	err := progress.New(errOut).Phase(ctx, k.Title+" "+k.label(object)+" is ready", func(ctx context.Context, detail func(string)) (err error) {
		ready, err = k.WaitReady(ctx, cluster, client.ObjectKeyFromObject(object), detail)
		return err
	})
	if err == nil {
		ready.GetObjectKind().SetGroupVersionKind(k.Kind)
	}
	return ready, err
}

// waitGone waits until the object is gone. A new one of the same name is another one.
func (k *Kind[T]) waitGone(ctx context.Context, cluster client.WithWatch, object T) error {
	if err := await.UntilGone(ctx, cluster, object, k.EmptyList()); err != nil {
		return exit.WithNext(fmt.Errorf("wait until %s %q is gone: %w", k.Title, k.label(object), err),
			"`%s` shows what is left", k.command("describe", object))
	}
	return nil
}
