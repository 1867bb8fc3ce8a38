package quota

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

const (
	// waitMost is how long a request is kept waiting for room.
	waitMost = 2 * time.Second
	// passing is how long what a request needs is still set apart after it was let through: the host charges it only then.
	passing = 200 * time.Millisecond
	// watchLag is how much later than this replica's watch that of the API server's admission may bring what was written.
	watchLag = 50 * time.Millisecond
	// crowdMost bounds the requests that wait at a time, on this replica. Further ones go on at once.
	crowdMost = 2000
)

// crowds are the requests that are waiting for room, by ResourceQuota.
type crowds struct {
	turns chan struct{}

	mu   sync.Mutex
	byID map[types.UID]*crowd // protected by mu
}

// crowd are the requests that need room of one ResourceQuota.
type crowd struct {
	// sending lets one tell the owner at a time.
	sending sync.Mutex
	// told is what the owner was told; protected by sending.
	told wish
	// key is the ResourceQuota's.
	key client.ObjectKey

	// The rest is protected by crowds.mu.
	members int
	waiting amounts // what those need that wait
	passing amounts // what those need that were let through and are not charged yet
	newest  *corev1.ResourceQuota
	changed chan struct{} // closed when newest changes
}

func newCrowds() *crowds {
	return &crowds{turns: make(chan struct{}, crowdMost), byID: map[types.UID]*crowd{}}
}

// changed tells those who wait that a ResourceQuota has changed.
func (c *crowds) changed(quota *corev1.ResourceQuota) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.byID[quota.UID]
	if !ok || version(quota) <= version(one.newest) {
		return
	}
	before, after := amountsOf(one.newest.Status.Used), amountsOf(quota.Status.Used)
	for name, amount := range one.passing {
		one.passing[name] = amount - min(amount, max(after[name]-before[name], 0)) // charged now
	}
	one.newest = quota
	close(one.changed)
	one.changed = make(chan struct{})
}

func (c *crowds) join(quota *corev1.ResourceQuota, needs amounts) *crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.byID[quota.UID]
	if !ok {
		one = &crowd{key: client.ObjectKeyFromObject(quota), waiting: amounts{}, passing: amounts{}, newest: quota, changed: make(chan struct{})}
		c.byID[quota.UID] = one
	}
	one.members++
	for name, amount := range needs {
		one.waiting[name] = plus(one.waiting[name], amount)
	}
	return one
}

// pass notes that a request waits no more and will be charged soon.
func (c *crowds) pass(one *crowd, needs amounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, amount := range needs {
		one.waiting[name] -= min(one.waiting[name], amount)
		one.passing[name] = plus(one.passing[name], amount)
	}
}

func (c *crowds) leave(one *crowd, needs amounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, amount := range needs {
		one.passing[name] -= min(one.passing[name], amount)
	}
	if one.members--; one.members == 0 {
		delete(c.byID, one.newest.UID)
	}
}

// look returns what the whole crowd needs hard to be where that is not so now, and what to wait for.
func (c *crowds) look(one *crowd) (lacking amounts, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used, hard := amountsOf(one.newest.Status.Used), amountsOf(one.newest.Status.Hard)
	for name, amount := range one.waiting {
		if want := plus(used[name], plus(amount, one.passing[name])); amount > 0 && want > hard[name] {
			put(&lacking, name, want)
		}
	}
	return lacking, one.changed
}

// lack is a quota that has no room for a request.
type lack struct {
	quota             string
	name              corev1.ResourceName
	asked, used, hard int64
}

func (l lack) String() string {
	asked, used, hard := quantityOf(l.name, l.asked), quantityOf(l.name, l.used), quantityOf(l.name, l.hard)
	return fmt.Sprintf("account quota %s has no room for this: %s asked %s, used %s, hard %s", l.quota, l.name, asked.String(), used.String(), hard.String())
}

// makeRoom waits until there is room for a request in every quota that counts it. It returns when there is, when there cannot be,
// or when it has waited for long enough, and says what is lacking of the account as a whole.
func (c *Controller) makeRoom(ctx context.Context, namespace string, needs amounts, pod *corev1.Pod) []lack {
	var quotas corev1.ResourceQuotaList
	if err := c.cache.List(ctx, &quotas, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, waitMost)
	defer cancel()
	lacks := make([][]lack, len(quotas.Items))
	var group sync.WaitGroup
	for index := range quotas.Items {
		one := &quotas.Items[index]
		counted := amounts{}
		for name, amount := range needs {
			if _, ok := one.Spec.Hard[name]; ok && amount > 0 {
				counted[name] = amount
			}
		}
		if len(counted) > 0 && matches(one, pod) {
			group.Go(func() { lacks[index] = c.makeRoomIn(ctx, one, counted) })
		}
	}
	group.Wait()
	var all []lack
	for _, some := range lacks {
		all = append(all, some...)
	}
	return all
}

func (c *Controller) makeRoomIn(ctx context.Context, quota *corev1.ResourceQuota, needs amounts) []lack {
	select {
	case c.crowds.turns <- struct{}{}:
	default:
		return nil
	}
	one := c.crowds.join(quota, needs)
	// Those who come next must not count on the room that is for this request.
	defer func() {
		c.crowds.pass(one, needs)
		time.AfterFunc(passing, func() {
			c.crowds.leave(one, needs)
			<-c.crowds.turns
		})
	}()
	for hasWaited := false; ; hasWaited = true {
		lacking, changed := c.crowds.look(one)
		if len(lacking) == 0 {
			if hasWaited {
				pause(ctx, watchLag)
			}
			return nil
		}
		if all := c.lacks(ctx, quota, needs); len(all) > 0 {
			// There may be room later. Who is refused again and again is not written down again and again.
			if !c.hasAsked(quota, wish{Hard: lacking, At: c.options.Clock.Now()}) {
				c.tell(ctx, one, lacking)
			}
			return all
		}
		c.tell(ctx, one, lacking)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// lacks says which bounds of an account do not allow a request, wherever room is moved.
func (c *Controller) lacks(ctx context.Context, part *corev1.ResourceQuota, needs amounts) []lack {
	var quota tenancyv1alpha1.AccountQuota
	name := part.Labels[mapping.LabelAccountQuota]
	if err := c.cache.Get(ctx, client.ObjectKey{Name: name}, &quota, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	used, total := c.book(name).used(), bounds(&quota)
	var all []lack
	for resource, asked := range needs {
		if hard, ok := total[resource]; ok && plus(used[resource], asked) > hard {
			all = append(all, lack{quota: name, name: resource, asked: asked, used: used[resource], hard: hard})
		}
	}
	return all
}

// used is what all namespaces use.
func (b *book) used() amounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	total := amounts{}
	for _, one := range b.lots {
		for name, amount := range one.used {
			total[name] = plus(total[name], amount)
		}
	}
	return total
}

// tell leaves a wish for the owner, unless one was left that says as much.
func (c *Controller) tell(ctx context.Context, one *crowd, lacking amounts) {
	one.sending.Lock()
	defer one.sending.Unlock()
	now := c.options.Clock.Now()
	isNews := now.Sub(one.told.At) > waitMost/4
	for name, want := range lacking {
		isNews = isNews || want > one.told.Hard[name]
	}
	if !isNews {
		return
	}
	if next := (wish{Hard: lacking, At: now}); c.leave(ctx, one.key, next) {
		one.told = next
	}
}

// leave writes a wish of this replica.
func (c *Controller) leave(ctx context.Context, key client.ObjectKey, next wish) bool {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, wishKey(c.options.Replica), next.text())
	quota := &corev1.ResourceQuota{}
	quota.Namespace, quota.Name = key.Namespace, key.Name
	if err := c.host.Patch(ctx, quota, client.RawPatch(types.MergePatchType, patch)); err != nil {
		c.log.Debug("Cannot tell that room is needed", "namespace", quota.Namespace, "name", quota.Name, "error", err)
		return false
	}
	return true
}

// wishKey is the annotation of a replica.
func wishKey(replica string) string {
	const longest = 63
	return wishPrefix + replica[max(0, len(replica)-longest):]
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
}
