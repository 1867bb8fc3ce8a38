package lab

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Awaited is an object that a watch of its own waits for.
type Awaited struct {
	what     string
	watching *Watching
	seen     chan runtime.Object
}

// Expect begins to watch for an object, which Await returns. isIt is not asked about objects that are gone.
func Expect(ctx context.Context, what string, source *Source, isIt func(runtime.Object) bool) (*Awaited, error) {
	watching, ctx := NewWatching(ctx)
	a := &Awaited{what: what, watching: watching, seen: make(chan runtime.Object, 1)}
	err := watching.Add(ctx, source, func(event watch.EventType, object runtime.Object, _ time.Time) {
		if event == watch.Deleted || !isIt(object) {
			return
		}
		select {
		case a.seen <- object:
		default: // one is enough
		}
	})
	if err != nil {
		watching.Stop()
		return nil, err
	}
	return a, nil
}

// Await returns the object and ends the watch.
func (a *Awaited) Await(ctx context.Context) (runtime.Object, error) {
	defer a.watching.Stop()
	select {
	case object := <-a.seen:
		return object, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for %s: %w", a.what, context.Cause(ctx))
	}
}

// Await waits for an object that is there or comes.
func Await(ctx context.Context, what string, source *Source, isIt func(runtime.Object) bool) error {
	awaited, err := Expect(ctx, what, source, isIt)
	if err == nil {
		_, err = awaited.Await(ctx)
	}
	return err
}

// AwaitNone waits until there is none of what a source shows.
func AwaitNone(ctx context.Context, what string, source *Source) error {
	watching, ctx := NewWatching(ctx)
	defer watching.Stop()
	remains, err := follow(ctx, watching, source)
	if err == nil {
		_, err = remains.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("wait for the end of %s: %w", what, err)
	}
	return nil
}
