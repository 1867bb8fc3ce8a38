package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The agent keeps in memory what it watches in a tenant, and a tenant can have as much of it as its own datastore
// holds. So that one tenant cannot fill the memory of the agent of all, one that has more than a bound is let go, and so is the one
// that has most when all together have more than there is room for. It is tried again later: by then it may have deleted some.

// tooLargePause is when a tenant that was too large is tried again. Filling its caches once more costs some seconds of CPU.
const tooLargePause = 10 * time.Minute

// objectOverhead is what an object takes beside itself in a cache, its indexes and queues.
const objectOverhead = 1 << 10

// footprint counts what the caches hold of one tenant.
type footprint struct {
	held atomic.Int64
	// pending is what lists and watches have brought that no cache has yet.
	pending atomic.Int64
	most    int64
	// exceeded is called with each object that is too much.
	exceeded func()
	share    *share
	// events bounds how fast the caches' watches are read.
	events *rate.Limiter
}

func newFootprint(most int64, share *share, exceeded func()) *footprint {
	return &footprint{most: most, exceeded: exceeded, share: share, events: rate.NewLimiter(eventRate, eventBurst)}
}

// watch counts what a cache holds of one type. forget takes it out of the count, when the cache has ended.
func (f *footprint) watch(ctx context.Context, from cache.Cache, empty client.Object) (forget func(), err error) {
	informer, err := from.GetInformer(ctx, empty, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("count the cache of %T: %w", empty, err)
	}
	held := &heldObjects{sizes: map[client.ObjectKey]int64{}, footprint: f}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { held.set(object, cachedSize(object)) },
		UpdateFunc: func(_, object any) { held.set(object, cachedSize(object)) },
		DeleteFunc: func(object any) { held.set(object, 0) },
	})
	if err != nil {
		return nil, fmt.Errorf("count the cache of %T: %w", empty, err)
	}
	return held.forget, nil
}

// heldObjects are what one cache holds. What an object was counted with is remembered: it may change in memory, by what it
// remembers of itself.
type heldObjects struct {
	footprint *footprint

	mu    sync.Mutex
	sizes map[client.ObjectKey]int64 // protected by mu; nil when the cache has ended
}

func (h *heldObjects) set(object any, size int64) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	typed, ok := object.(client.Object)
	if !ok {
		return
	}
	key := client.ObjectKeyFromObject(typed)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sizes == nil {
		return
	}
	h.footprint.add(size - h.sizes[key])
	if h.sizes[key] = size; size == 0 {
		delete(h.sizes, key)
	}
}

func (h *heldObjects) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, size := range h.sizes {
		h.footprint.add(-size)
	}
	h.sizes = nil
}

func (f *footprint) add(bytes int64) {
	f.share.add(bytes)
	if f.held.Add(bytes) > f.most && bytes > 0 {
		f.exceeded()
	}
}

// cachedSize is about what an object takes in a cache.
func cachedSize(object any) int64 { return memoryOf(object) + objectOverhead }

// excess is that a tenant has more than the agent keeps.
type excess struct {
	until time.Time
	// of is what it has more than.
	of string
}

// ofOne and ofAll are what a tenant may have too much of.
func (e *Engine) ofOne() string {
	return fmt.Sprintf("take more than %d MiB of the agent's memory", e.options.MaxCached>>20)
}

func (e *Engine) ofAll() string {
	return fmt.Sprintf("take more of the agent's memory than those of any other, and all together more than the %d MiB that it has for them", e.options.MaxTogether>>20)
}

// tooLarge notes that a tenant has more than the agent keeps, and has it let go.
func (e *Engine) tooLarge(uid types.UID, of string) {
	e.mu.Lock()
	_, isNoted := e.tooLargeUntil[uid]
	if !isNoted {
		e.tooLargeUntil[uid] = excess{until: time.Now().Add(tooLargePause), of: of}
	}
	e.mu.Unlock()
	if isNoted {
		return
	}
	e.log.Warn("Virtual cluster is let go: its objects "+of, "uid", uid, "again", tooLargePause.String())
	e.rematch()
	time.AfterFunc(tooLargePause, e.rematch)
}

// rematch makes follow look at the registry again.
func (e *Engine) rematch() {
	select {
	case e.again <- struct{}{}:
	default: // it will already
	}
}

// isTooLarge tells whether a tenant must not be served for now.
func (e *Engine) isTooLarge(uid types.UID) bool {
	_, ok := e.excessOf(uid)
	return ok
}

func (e *Engine) excessOf(uid types.UID) (excess, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known, ok := e.tooLargeUntil[uid]
	if ok && !time.Now().Before(known.until) {
		delete(e.tooLargeUntil, uid)
		return excess{}, false
	}
	return known, ok
}

// Problem says why a tenant is not served and will not be by waiting alone; it is empty when nothing is wrong.
func (e *Engine) Problem(uid types.UID) string {
	known, ok := e.excessOf(uid)
	if !ok {
		return ""
	}
	return fmt.Sprintf("The pods, Services, metadata of Secrets and ConfigMaps, and other objects of the virtual cluster that the sync has to know %s. "+
		"Nothing of it is synced; delete some. It is tried again every %s", known.of, tooLargePause)
}
