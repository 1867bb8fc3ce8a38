package quota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/rewatch"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

const (
	// workers is how many quotas are tended at a time.
	workers = 8
	// tendTimeout bounds the work on one quota.
	tendTimeout = 60 * time.Second
	// callTimeout bounds a call to the host.
	callTimeout = 10 * time.Second
	retryFirst  = 20 * time.Millisecond
	retryLast   = 15 * time.Second
)

// Options of a Controller.
type Options struct {
	// Host is the host cluster. It is required.
	Host *rest.Config
	// Shards say which quotas are this replica's. Nil means all.
	Shards shards.Shares
	// Replica is the name of this replica, a name for a Lease. It is required.
	Replica string
	// Log; nil means slog.Default().
	Log *slog.Logger
	// Clock; nil means the real one.
	Clock clock.PassiveClock
}

// Controller keeps the escrow. Make one with New and run it once.
type Controller struct {
	options Options
	log     *slog.Logger
	cache   cache.Cache
	host    client.Client
	queue   workqueue.TypedRateLimitingInterface[string]
	crowds  *crowds
	// quotasChanged tells KeepWebhook that there may be other things to count.
	quotasChanged chan struct{}

	mu    sync.Mutex
	books map[string]*book // protected by mu; by name of the AccountQuota
}

// New makes a Controller. It does nothing before Run.
func New(options Options) (*Controller, error) {
	if options.Shards == nil {
		options.Shards = shards.All()
	}
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), tenancyv1alpha1.AddToScheme(known)); err != nil {
		return nil, fmt.Errorf("register the kinds of quotas: %w", err)
	}
	c := &Controller{options: options, log: options.Log, books: map[string]*book{}, quotasChanged: make(chan struct{}, 1)}
	var err error
	if c.cache, err = newCache(options.Host, known); err != nil {
		return nil, fmt.Errorf("make the cache of quotas: %w", err)
	}
	config := rest.CopyConfig(options.Host)
	config.Timeout = callTimeout
	if c.host, err = client.New(config, client.Options{Scheme: known}); err != nil {
		return nil, fmt.Errorf("make a client of quotas: %w", err)
	}
	c.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryFirst, retryLast))
	c.crowds = newCrowds()
	return c, nil
}

// newCache sees the AccountQuotas, the namespaces of accounts, and the ResourceQuotas of the escrow.
func newCache(host *rest.Config, known *runtime.Scheme) (cache.Cache, error) {
	has := func(label string) (labels.Selector, error) {
		requirement, err := labels.NewRequirement(label, selection.Exists, nil)
		if err != nil {
			return nil, err
		}
		return labels.NewSelector().Add(*requirement), nil
	}
	ofAccounts, err := has(mapping.LabelAccount)
	if err != nil {
		return nil, err
	}
	ofQuotas, err := has(mapping.LabelAccountQuota)
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(host)
	config.QPS, config.Timeout = -1, 0 // a watch is one long call
	return cache.New(config, cache.Options{
		NewInformer: rewatch.NewInformer, Scheme: known, DefaultTransform: cache.TransformStripManagedFields(), ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Namespace{}:             {Label: ofAccounts},
			&corev1.ResourceQuota{}:         {Label: ofQuotas},
			&tenancyv1alpha1.AccountQuota{}: {},
		},
	})
}

// Run keeps the escrow until the context ends.
func (c *Controller) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := c.follow(ctx); err != nil {
		return fmt.Errorf("watch quotas: %w", err)
	}
	var group sync.WaitGroup
	defer group.Wait()
	defer c.queue.ShutDown()
	failed := make(chan error, 1)
	group.Go(func() {
		defer stop()
		failed <- c.cache.Start(ctx)
	})
	if c.cache.WaitForCacheSync(ctx) {
		c.options.Shards.Follow(c.gained)
		c.enqueueAll()
		for range workers {
			group.Go(func() { c.work(ctx) })
		}
	}
	<-ctx.Done()
	return <-failed
}

// Synced waits until the caches are filled; it is false when the context ended before.
func (c *Controller) Synced(ctx context.Context) bool { return c.cache.WaitForCacheSync(ctx) }

// accountIndex finds the namespaces of an account.
const accountIndex = "account"

func (c *Controller) follow(ctx context.Context) error {
	err := c.cache.IndexField(ctx, &corev1.Namespace{}, accountIndex, func(object client.Object) []string {
		return []string{object.GetLabels()[mapping.LabelAccount]}
	})
	if err != nil {
		return err
	}
	handlers := map[client.Object]toolscache.ResourceEventHandler{
		&tenancyv1alpha1.AccountQuota{}: everyEvent(func(object client.Object) {
			c.queue.Add(object.GetName())
			select {
			case c.quotasChanged <- struct{}{}:
			default:
			}
		}),
		&corev1.Namespace{}: everyEvent(func(object client.Object) {
			c.enqueueAccount(object.GetLabels()[mapping.LabelAccount])
		}),
		&corev1.ResourceQuota{}: toolscache.ResourceEventHandlerFuncs{
			AddFunc:    c.sees,
			UpdateFunc: func(_, object any) { c.sees(object) },
			DeleteFunc: c.misses,
		},
	}
	for object, handler := range handlers {
		informer, err := c.cache.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return nil
}

func everyEvent(handle func(client.Object)) toolscache.ResourceEventHandler {
	one := func(object any) {
		if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		if typed, ok := object.(client.Object); ok {
			handle(typed)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: one, DeleteFunc: one, UpdateFunc: func(before, after any) { one(before); one(after) },
	}
}

func (c *Controller) sees(object any) {
	quota, ok := object.(*corev1.ResourceQuota)
	if !ok {
		return
	}
	name := quota.Labels[mapping.LabelAccountQuota]
	c.book(name).see(quota, c.options.Clock.Now())
	c.crowds.changed(quota)
	c.queue.Add(name)
}

func (c *Controller) misses(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	quota, ok := object.(*corev1.ResourceQuota)
	if !ok {
		return
	}
	name := quota.Labels[mapping.LabelAccountQuota]
	c.book(name).miss(quota)
	c.queue.Add(name)
}

func (c *Controller) book(name string) *book {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.books[name]
	if !ok {
		one = newBook()
		c.books[name] = one
	}
	return one
}

func (c *Controller) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.books, name)
}

// quotas are those of an account; "" means all.
func (c *Controller) quotas(ctx context.Context, account string) ([]tenancyv1alpha1.AccountQuota, error) {
	var list tenancyv1alpha1.AccountQuotaList
	if err := c.cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list account quotas: %w", err)
	}
	if account == "" {
		return list.Items, nil
	}
	var found []tenancyv1alpha1.AccountQuota
	for _, quota := range list.Items {
		if quota.Spec.Account == account {
			found = append(found, quota)
		}
	}
	return found, nil
}

func (c *Controller) enqueueAccount(account string) {
	quotas, err := c.quotas(context.Background(), account)
	if err != nil {
		return // the caches are not filled yet; everything is looked at when they are
	}
	for index := range quotas {
		c.queue.Add(quotas[index].Name)
	}
}

func (c *Controller) enqueueAll() { c.enqueueAccount("") }

// gained looks at everything again that this replica has become the owner of; others may have written since it was the last time.
func (c *Controller) gained(isGained func(types.UID) bool) {
	quotas, err := c.quotas(context.Background(), "")
	if err != nil {
		return
	}
	for index := range quotas {
		if isGained(quotas[index].UID) {
			c.book(quotas[index].Name).lose()
			c.queue.Add(quotas[index].Name)
		}
	}
}

func (c *Controller) work(ctx context.Context) {
	for {
		name, isOver := c.queue.Get()
		if isOver {
			return
		}
		again, err := c.reconcile(ctx, name)
		switch {
		case err != nil && ctx.Err() == nil:
			if !apierrors.IsConflict(err) && !errors.Is(err, errNotOwner) {
				c.log.Warn("Cannot keep an account's quota", "quota", name, "error", err)
			}
			c.queue.AddRateLimited(name)
		case again > 0:
			c.queue.Forget(name)
			c.queue.AddAfter(name, again)
		default:
			c.queue.Forget(name)
		}
		c.queue.Done(name)
	}
}

// reconcile tends one quota if it is this replica's, and says when to do so again.
func (c *Controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	var quota tenancyv1alpha1.AccountQuota
	err := c.cache.Get(ctx, client.ObjectKey{Name: name}, &quota)
	if apierrors.IsNotFound(err) {
		c.forget(name)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("get account quota %q: %w", name, err)
	}
	if quota.DeletionTimestamp != nil {
		return 0, nil
	}
	book := c.book(name)
	work, leave, ok := c.options.Shards.Enter(ctx, quota.UID)
	if !ok {
		book.lose()
		return 0, nil
	}
	defer leave()
	work, cancel := context.WithTimeout(work, tendTimeout)
	defer cancel()
	return (&tending{Controller: c, quota: &quota, book: book, total: bounds(&quota)}).run(work)
}
