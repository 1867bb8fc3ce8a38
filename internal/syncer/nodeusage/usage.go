package nodeusage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

const (
	nodeIndex     = "nodeusage/node"
	defaultPeriod = time.Second
)

// Usage is what is requested on the nodes of the host. Make one with New and run it once.
type Usage struct {
	config *rest.Config
	period time.Duration

	asked     chan struct{} // closed when somebody wants to know
	askedOnce sync.Once
	wake      chan struct{} // has one element while there are nodes to sum

	mu sync.Mutex
	// The following are protected by mu.
	known bool
	dirty map[string]bool
	sums  map[string]map[types.UID]corev1.ResourceList // by node and owner; "" owns what is no tenant's
}

// New makes a Usage of the host that config reaches. period is how long the changes of a node are gathered; 0 means a second.
func New(config *rest.Config, period time.Duration) *Usage {
	if period == 0 {
		period = defaultPeriod
	}
	return &Usage{
		config: config, period: period, asked: make(chan struct{}), wake: make(chan struct{}, 1),
		dirty: map[string]bool{}, sums: map[string]map[types.UID]corev1.ResourceList{},
	}
}

// Others is the sum of what everybody but this tenant requests on a node; ok is false while that is not known yet.
func (u *Usage) Others(node string, tenant types.UID) (sum corev1.ResourceList, ok bool) {
	u.askedOnce.Do(func() { close(u.asked) })
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.known {
		return nil, false
	}
	sum = corev1.ResourceList{}
	for owner, requests := range u.sums[node] {
		if owner == "" || owner != tenant {
			add(sum, requests)
		}
	}
	return sum, true
}

// Run counts until the context ends, from when Others is called for the first time. changed is called for each node whose
// sums are new.
func (u *Usage) Run(ctx context.Context, changed func(node string)) (err error) {
	select {
	case <-ctx.Done():
		return nil
	case <-u.asked:
	}
	pods, err := u.newCache(ctx)
	if err != nil {
		return fmt.Errorf("make the cache of the host's pods: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pods.Start(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	informer, err := pods.GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch the host's pods: %w", err)
	}
	handled, err := informer.AddEventHandler(u.handler())
	if err != nil {
		return fmt.Errorf("watch the host's pods: %w", err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced, handled.HasSynced) {
		return nil // told to stop
	}
	if err := u.sum(ctx, pods, func(string) {}); err != nil {
		return err
	}
	u.mu.Lock()
	u.known = true
	u.mu.Unlock()
	return u.follow(ctx, pods, changed)
}

// follow sums the nodes on which something has changed, each at most once per period.
func (u *Usage) follow(ctx context.Context, pods client.Reader, changed func(node string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.wake:
		}
		gathering := time.NewTimer(u.period)
		select {
		case <-ctx.Done():
			gathering.Stop()
			return nil
		case <-gathering.C:
		}
		if err := u.sum(ctx, pods, changed); err != nil {
			return err
		}
	}
}

func (u *Usage) newCache(ctx context.Context) (cache.Cache, error) {
	config := rest.CopyConfig(u.config)
	config.QPS, config.Timeout = -1, 0 // a watch is one long call
	pods, err := cache.New(config, cache.Options{
		NewInformer: rewatch.NewInformer, Scheme: engine.Scheme, Mapper: engine.NewMapper(), ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: {Field: onNodes, Transform: trim}},
	})
	if err != nil {
		return nil, err
	}
	return pods, pods.IndexField(ctx, &corev1.Pod{}, nodeIndex, func(object client.Object) []string {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return nil
		}
		return []string{pod.Spec.NodeName}
	})
}

func (u *Usage) handler() toolscache.ResourceEventHandler {
	one := func(object any) {
		if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		if pod, ok := object.(*corev1.Pod); ok {
			u.touch(pod.Spec.NodeName)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    one,
		DeleteFunc: one,
		UpdateFunc: func(before, after any) {
			old, isOld := before.(*corev1.Pod)
			new, isNew := after.(*corev1.Pod)
			// Nearly all changes are of a status, which does not count here. A pod never changes its node.
			if isOld && isNew && ownerOf(old) == ownerOf(new) && equality.Semantic.DeepEqual(requestsOf(old), requestsOf(new)) {
				return
			}
			one(after)
		},
	}
}

// touch notes that a node has to be summed again.
func (u *Usage) touch(node string) {
	u.mu.Lock()
	u.dirty[node] = true
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// sum brings the sums of all touched nodes up to date.
func (u *Usage) sum(ctx context.Context, pods client.Reader, changed func(node string)) error {
	u.mu.Lock()
	dirty := u.dirty
	u.dirty = map[string]bool{}
	u.mu.Unlock()
	for node := range dirty {
		sums, err := sumOf(ctx, pods, node)
		if err != nil {
			return err
		}
		u.mu.Lock()
		isNew := !equality.Semantic.DeepEqual(u.sums[node], sums)
		u.sums[node] = sums
		if len(sums) == 0 {
			delete(u.sums, node)
		}
		u.mu.Unlock()
		if isNew {
			changed(node)
		}
	}
	return nil
}

func sumOf(ctx context.Context, pods client.Reader, node string) (map[types.UID]corev1.ResourceList, error) {
	list := &corev1.PodList{}
	err := pods.List(ctx, list, client.MatchingFields{nodeIndex: node}, client.UnsafeDisableDeepCopy)
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("list the pods on node %q: %w", node, err)
	}
	sums := map[types.UID]corev1.ResourceList{}
	for index := range list.Items {
		pod := &list.Items[index]
		owner := ownerOf(pod)
		if sums[owner] == nil {
			sums[owner] = corev1.ResourceList{}
		}
		add(sums[owner], requestsOf(pod))
	}
	return sums, nil
}
