package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
)

const (
	// eventRate and eventBurst bound how many events the agent takes from the watches of one tenant: small ones cost as much as
	// large ones. The burst has room for what a large virtual cluster shows at first.
	eventRate  = 2000
	eventBurst = 50000
	// listPage is how many objects are asked for at once. An answer must be small beside all that may be under way.
	listPage = 100
)

// informerMaker is what cache.Options.NewInformer takes.
type informerMaker = func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer

var errTooMuchListed = errors.New("the virtual cluster lists more than the agent keeps in memory of one")

// newInformer is for cache.Options.NewInformer: it meters what a cache of the tenant takes in.
func (f *footprint) newInformer(
	from toolscache.ListerWatcher, empty runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	metered := &meteredList{footprint: f, from: toolscache.ToListerWatcherWithContext(rewatch.Persistent(from))}
	return toolscache.NewSharedIndexInformer(&toolscache.ListWatch{
		ListWithContextFunc: metered.list, WatchFuncWithContext: metered.watch,
	}, empty, resync, indexers)
}

// meteredList lists and watches for one cache. Until the cache has everything, what has come is in no cache and counts here: a
// list may have pages without end, and a watch objects without end before it says that these were all.
type meteredList struct {
	footprint *footprint
	from      toolscache.ListerWatcherWithContext

	mu      sync.Mutex
	pending int64 // protected by mu
}

// take counts something that is no cache's yet, and tells whether the tenant may have it.
func (m *meteredList) take(bytes int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending += bytes
	m.footprint.share.add(bytes)
	if m.footprint.pending.Add(bytes) <= m.footprint.most {
		return true
	}
	m.footprint.exceeded()
	return false
}

// clear is called when what was counted is the cache's, or nobody's any more.
func (m *meteredList) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.footprint.pending.Add(-m.pending)
	m.footprint.share.add(-m.pending)
	m.pending = 0
}

// list is called for each page.
func (m *meteredList) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	if options.Continue == "" {
		m.clear()
	}
	ctx, release := holding(ctx)
	defer release() // when it is counted
	page, err := m.from.ListWithContext(ctx, inSmallPages(options))
	if err != nil {
		return page, err
	}
	// A page without objects costs something, too.
	size := int64(objectOverhead)
	if err := meta.EachListItem(page, func(object runtime.Object) error {
		size += cachedSize(object)
		return nil
	}); err != nil {
		return nil, err
	}
	if !m.take(size) {
		return nil, errTooMuchListed
	}
	return page, nil
}

// inSmallPages asks for fewer objects at a time than an informer does. Where that wants all of them at once, it takes what it
// gets for all.
func inSmallPages(options metav1.ListOptions) metav1.ListOptions {
	if options.Limit <= listPage {
		return options
	}
	options.Limit = listPage
	if options.ResourceVersion == "0" {
		options.ResourceVersion = "" // of any version, an API server sends all objects, whatever the limit
	}
	return options
}

func (m *meteredList) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	m.clear()
	ending := rewatch.NewEnding(options)
	inner, err := m.from.WatchWithContext(ctx, options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &meteredWatch{
		list: m, inner: inner, ending: ending, isInitial: beginsWithList(options),
		result: make(chan watch.Event), ctx: ctx, cancel: cancel,
	}
	go w.run() // ends with the watch, which its owner stops
	return w, nil
}

// meteredWatch is a watch whose events are counted and come no faster than the tenant's rate.
type meteredWatch struct {
	list      *meteredList
	inner     watch.Interface
	ending    *rewatch.Ending // only the goroutine of run uses it, and isInitial
	isInitial bool            // what comes is not all yet
	result    chan watch.Event
	ctx       context.Context //nolint:containedctx // ends with the watch
	cancel    context.CancelFunc
}

// ResultChan implements watch.Interface.
func (w *meteredWatch) ResultChan() <-chan watch.Event { return w.result }

// Stop implements watch.Interface.
func (w *meteredWatch) Stop() { w.cancel() }

func (w *meteredWatch) run() {
	defer close(w.result)
	defer w.list.clear()
	defer w.drain()
	defer w.cancel()
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

// drain ends the inner watch and lets its goroutine go, which may be about to send.
func (w *meteredWatch) drain() {
	w.inner.Stop()
	for range w.inner.ResultChan() {
	}
}

// pass hands an event on; false ends the watch.
func (w *meteredWatch) pass(event watch.Event) bool {
	if err := w.list.footprint.events.Wait(w.ctx); err != nil {
		return false
	}
	if w.isInitial {
		if rewatch.IsEndOfList(event) {
			w.isInitial = false
			w.list.clear()
		} else if !w.list.take(cachedSize(event.Object)) {
			return false
		}
	}
	select {
	case w.result <- event:
		w.ending.HasPassed(event)
		return true
	case <-w.ctx.Done():
		return false
	}
}
