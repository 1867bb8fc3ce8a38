package rewatch

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// leastLife is how long a watch lasts at least. One that ends within a second and has shown nothing is an error to an informer of
// client-go (its VeryShortWatchError), after which it waits the longer the more often that happened, and lists anew. The rest is for the
// time in which it stores what a watch began with, since its second begins after that.
const leastLife = 1500 * time.Millisecond

// Ending says when a watch that was broken off may end. It is for one goroutine.
type Ending struct {
	began time.Time
	// isList: what comes is a list, of which there is more.
	isList, isEmpty bool
}

// NewEnding is for a watch that begins now, with these options.
func NewEnding(options metav1.ListOptions) *Ending {
	isList := options.SendInitialEvents != nil && *options.SendInitialEvents
	return &Ending{began: time.Now(), isList: isList, isEmpty: true}
}

// HasPassed is told of each event that the informer has taken.
func (e *Ending) HasPassed(event watch.Event) {
	e.isEmpty = false
	if e.isList && IsEndOfList(event) {
		e.began, e.isList = time.Now(), false
	}
}

// Await returns when the watch may end, or its context has.
func (e *Ending) Await(ctx context.Context) {
	if e.isList && e.isEmpty {
		return // the informer then lists in the other way, which may be possible
	}
	left := time.NewTimer(time.Until(e.began.Add(leastLife)))
	defer left.Stop()
	select {
	case <-left.C:
	case <-ctx.Done():
	}
}

// IsEndOfList tells whether an event of a watch that began with a list says that this was all of it.
func IsEndOfList(event watch.Event) bool {
	if event.Type != watch.Bookmark {
		return false
	}
	object, err := meta.Accessor(event.Object)
	return err == nil && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// lasting is a watch that ends no sooner than it may.
type lasting struct {
	inner  watch.Interface
	ending *Ending // only the goroutine of run uses it
	result chan watch.Event
	ctx    context.Context //nolint:containedctx // ends with the watch
	cancel context.CancelFunc
}

func newLasting(ctx context.Context, inner watch.Interface, ending *Ending) watch.Interface {
	ctx, cancel := context.WithCancel(ctx)
	w := &lasting{inner: inner, ending: ending, result: make(chan watch.Event), ctx: ctx, cancel: cancel}
	go w.run() // ends with the watch, which its owner stops
	return w
}

// ResultChan implements watch.Interface.
func (w *lasting) ResultChan() <-chan watch.Event { return w.result }

// Stop implements watch.Interface.
func (w *lasting) Stop() { w.cancel() }

func (w *lasting) run() {
	defer close(w.result)
	defer w.cancel()
	defer w.inner.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case event, ok := <-w.inner.ResultChan():
			if !ok {
				w.ending.Await(w.ctx)
				return
			}
			if !w.pass(event) {
				return
			}
		}
	}
}

// pass hands an event on; false ends the watch.
func (w *lasting) pass(event watch.Event) bool {
	select {
	case w.result <- event:
		w.ending.HasPassed(event)
		return true
	case <-w.ctx.Done():
		return false
	}
}
