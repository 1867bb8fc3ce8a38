package lab

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// Watching is a set of watches that live as long as one measurement. One that the server ends is opened again, and what has
// happened meanwhile is seen then, late: on a quiet machine that does not happen.
type Watching struct {
	running sync.WaitGroup
	cancel  context.CancelFunc
}

// See is told of every object that a watch brings, and when it came. A watch calls it for one object after the other.
type See func(what watch.EventType, object runtime.Object, at time.Time)

// NewWatching makes an empty set, and the context for its watches. Stop must be called.
func NewWatching(ctx context.Context) (*Watching, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	return &Watching{cancel: cancel}, ctx
}

// Add begins a watch. When it returns, what was there before has been seen, and what is made afterwards will be.
func (w *Watching) Add(ctx context.Context, source *Source, see See) error {
	again := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Steps: 7, Cap: 3 * time.Second}
	// That the end of the measurement ends its watches is no news; Source tells of the others.
	silent := logr.Discard()
	reflector := cache.NewReflectorWithOptions(source, source.example, &sight{see: see, known: map[cache.ObjectName]runtime.Object{}},
		cache.ReflectorOptions{Name: source.name, Backoff: &again, Logger: &silent})
	w.running.Go(func() { reflector.RunWithContext(ctx) })
	select {
	case <-source.opened:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("begin to watch %s: %w", source.name, context.Cause(ctx))
	}
}

// Stop ends all watches and waits for them.
func (w *Watching) Stop() {
	w.cancel()
	w.running.Wait()
}

// sight is where a reflector puts what it sees.
type sight struct {
	see   See
	known map[cache.ObjectName]runtime.Object
}

// Add is called for an object that is new.
func (s *sight) Add(object any) error { return s.tell(watch.Added, object) }

// Update is called for one that has changed.
func (s *sight) Update(object any) error { return s.tell(watch.Modified, object) }

// Delete is called for one that is gone.
func (s *sight) Delete(object any) error { return s.tell(watch.Deleted, object) }

// Replace is called with all that there is, before the first watch and when a watch could not be continued.
func (s *sight) Replace(objects []any, _ string) error {
	left := s.known
	s.known = map[cache.ObjectName]runtime.Object{}
	for _, object := range objects {
		name, err := cache.ObjectToName(object)
		if err != nil {
			return err
		}
		what := watch.Added
		if _, was := left[name]; was {
			what = watch.Modified
		}
		delete(left, name)
		if err := s.tell(what, object); err != nil {
			return err
		}
	}
	for _, gone := range left {
		s.see(watch.Deleted, gone, time.Now())
	}
	return nil
}

// Resync has nothing to do here.
func (s *sight) Resync() error { return nil }

func (s *sight) tell(what watch.EventType, object any) error {
	at := time.Now()
	name, err := cache.ObjectToName(object)
	if err != nil {
		return err
	}
	seen, ok := object.(runtime.Object)
	if !ok {
		return fmt.Errorf("%T is no object", object)
	}
	if s.known[name] = seen; what == watch.Deleted {
		delete(s.known, name)
	}
	s.see(what, seen, at)
	return nil
}
