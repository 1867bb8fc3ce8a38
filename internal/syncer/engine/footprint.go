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
// holds. So that one tenant cannot fill the memory of the agent of all, one that has more than a bound is let go, and
// tried again later: by then it may have deleted some.

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
	// events bounds how fast the caches' watches are read.
	events *rate.Limiter
}

func newFootprint(most int64, exceeded func()) *footprint {
	return &footprint{most: most, exceeded: exceeded, events: rate.NewLimiter(eventRate, eventBurst)}
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
	if f.held.Add(bytes) > f.most && bytes > 0 {
		f.exceeded()
	}
}

// cachedSize is about what an object takes in a cache.
func cachedSize(object any) int64 { return memoryOf(object) + objectOverhead }

// tooLarge notes that a tenant has more than the agent keeps of one, and has it let go.
func (e *Engine) tooLarge(uid types.UID) {
	e.mu.Lock()
	_, isNoted := e.tooLargeUntil[uid]
	if !isNoted {
		e.tooLargeUntil[uid] = time.Now().Add(tooLargePause)
	}
	e.mu.Unlock()
	if isNoted {
		return
	}
	e.log.Warn("Virtual cluster has more than the agent keeps in memory of one; it is let go", "uid", uid, "again", tooLargePause.String())
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
	e.mu.Lock()
	defer e.mu.Unlock()
	until, ok := e.tooLargeUntil[uid]
	if ok && !time.Now().Before(until) {
		delete(e.tooLargeUntil, uid)
		return false
	}
	return ok
}

// Problem says why a tenant is not served and will not be by waiting alone; it is empty when nothing is wrong.
func (e *Engine) Problem(uid types.UID) string {
	if !e.isTooLarge(uid) {
		return ""
	}
	return fmt.Sprintf("The pods, Services, metadata of Secrets and ConfigMaps, and other objects of the virtual cluster that the sync has to know take more than %d MiB of the agent's memory. "+
		"Nothing of it is synced; delete some. It is tried again every %s", e.options.MaxCached>>20, tooLargePause)
}
