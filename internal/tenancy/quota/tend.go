package quota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
)

// parallel is how many writes for one quota are under way at a time.
const parallel = 16

// errNotOwner says that another replica has taken over.
var errNotOwner = errors.New("another replica of the agent looks after this quota now")

// tending is one look at one quota, by its owner.
type tending struct {
	*Controller
	quota *tenancyv1alpha1.AccountQuota
	book  *book
	total amounts
	// namespaces are those of the account; by name.
	namespaces map[string]*corev1.Namespace
	// refusal is what the host says of a ResourceQuota that it does not take.
	refusal string
}

func (t *tending) run(ctx context.Context) (time.Duration, error) {
	if t.book.ownEpoch() == 0 {
		if err := t.takeOver(ctx); err != nil {
			return 0, err
		}
	}
	if err := t.look(ctx); err != nil {
		return 0, err
	}
	if err := t.complete(ctx); err != nil {
		return 0, err
	}
	if err := t.fence(ctx); err != nil {
		return 0, err
	}
	writes, writing := t.move(ctx)
	statusIn, reporting := t.report(ctx)
	if err := errors.Join(writing, reporting); err != nil {
		return 0, err
	}
	if writes > 0 {
		return retryFirst, nil
	}
	return t.next(statusIn), nil
}

// takeOver makes this replica the owner: it counts the epoch up, so that a predecessor that still believes to be it finds out, and
// then reads what there is. Before it raises anything it puts its epoch on all of it: see fence.
func (t *tending) takeOver(ctx context.Context) error {
	var live tenancyv1alpha1.AccountQuota
	if err := t.host.Get(ctx, client.ObjectKeyFromObject(t.quota), &live); err != nil {
		return fmt.Errorf("get account quota %q: %w", t.quota.Name, err)
	}
	if live.UID != t.quota.UID {
		return fmt.Errorf("account quota %q was made anew: %w", t.quota.Name, errNotOwner)
	}
	// The time tells it from epochs of a former account quota of this name.
	live.Status.Epoch = max(live.Status.Epoch+1, t.options.Clock.Now().UnixMilli())
	if err := t.host.Status().Update(ctx, &live); err != nil {
		return fmt.Errorf("take account quota %q over: %w", t.quota.Name, err)
	}
	var list corev1.ResourceQuotaList
	if err := t.host.List(ctx, &list, client.MatchingLabels{mapping.LabelAccountQuota: t.quota.Name}); err != nil {
		return fmt.Errorf("list the ResourceQuotas of account quota %q: %w", t.quota.Name, err)
	}
	t.quota = &live
	t.book.takeOver(&live, list.Items, t.options.Clock.Now())
	t.log.Info("Looking after an account's quota", "quota", t.quota.Name, "epoch", live.Status.Epoch, "namespaces", len(list.Items))
	return nil
}

func (b *book) takeOver(quota *tenancyv1alpha1.AccountQuota, there []corev1.ResourceQuota, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch, b.mayRaiseAt = quota.Status.Epoch, now.Add(settling)
	found := map[string]bool{}
	for index := range there {
		found[there[index].Namespace] = true
		b.lot(there[index].Namespace).see(&there[index], now)
	}
	for namespace, one := range b.lots {
		one.isGone = !found[namespace]
	}
	// Of namespaces whose ResourceQuota went before their pods did, only the status still tells.
	for _, record := range quota.Status.Namespaces {
		if one := b.lot(record.Namespace); one.quota == nil {
			one.isGone, one.used = true, amountsOf(record.Used)
		}
	}
}

// look finds the account's namespaces and drops what belongs to none of them.
func (t *tending) look(ctx context.Context) error {
	var list corev1.NamespaceList
	if err := t.cache.List(ctx, &list, client.MatchingFields{accountIndex: t.quota.Spec.Account}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the namespaces of account %q: %w", t.quota.Spec.Account, err)
	}
	t.namespaces = make(map[string]*corev1.Namespace, len(list.Items))
	for index := range list.Items {
		if _, ok := list.Items[index].Labels[mapping.LabelKind]; ok {
			t.namespaces[list.Items[index].Name] = &list.Items[index]
		}
	}
	var strays []*corev1.ResourceQuota
	t.book.mu.Lock()
	now := t.options.Clock.Now()
	for name, one := range t.book.lots {
		one.expire(now)
		namespace, ok := t.namespaces[name]
		one.isEnding = ok && namespace.DeletionTimestamp != nil
		switch {
		case ok:
		case one.quota == nil || one.isGone:
			delete(t.book.lots, name) // the namespace is gone with all that was in it
		default:
			strays = append(strays, one.quota)
		}
	}
	t.book.mu.Unlock()
	return t.each(len(strays), func(index int) error { return t.remove(ctx, strays[index]) })
}

// remove deletes a ResourceQuota from a namespace that is not the account's. It counts until it is gone. A namespace may be so
// new that only its ResourceQuota has been heard of, so the API server itself is asked.
func (t *tending) remove(ctx context.Context, stray *corev1.ResourceQuota) error {
	var namespace corev1.Namespace
	err := t.host.Get(ctx, client.ObjectKey{Name: stray.Namespace}, &namespace)
	if err == nil && namespace.Labels[mapping.LabelAccount] == t.quota.Spec.Account {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get namespace %q: %w", stray.Namespace, err)
	}
	err = t.host.Delete(ctx, stray, client.Preconditions{UID: &stray.UID})
	if apierrors.IsNotFound(err) {
		t.book.miss(stray)
		return nil
	}
	if err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete ResourceQuota %q: %w", stray.Namespace+"/"+stray.Name, err)
	}
	return nil
}

// complete brings every namespace of the account into the escrow.
func (t *tending) complete(ctx context.Context) error {
	var missing []*corev1.Namespace
	t.book.mu.Lock()
	for name, namespace := range t.namespaces {
		one := t.book.lot(name)
		if (one.quota == nil || one.isGone) && namespace.DeletionTimestamp == nil {
			missing = append(missing, namespace)
		}
	}
	t.book.mu.Unlock()
	var mu sync.Mutex
	epoch := t.book.ownEpoch()
	return t.each(len(missing), func(index int) error {
		quota := render(t.quota, missing[index])
		quota.Annotations = map[string]string{annotationEpoch: epochText(epoch, rand.String(8))}
		err := t.host.Create(ctx, quota)
		switch {
		case err == nil:
		case apierrors.IsAlreadyExists(err):
			if err := t.host.Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil {
				return client.IgnoreNotFound(err)
			}
			if quota.Labels[mapping.LabelAccountQuota] != t.quota.Name || quota.DeletionTimestamp != nil {
				return t.replace(ctx, quota)
			}
		case apierrors.IsInvalid(err), apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			mu.Lock()
			defer mu.Unlock()
			t.refusal = err.Error()
			return nil
		case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return nil
		default:
			return fmt.Errorf("create ResourceQuota %q: %w", quota.Namespace+"/"+quota.Name, err)
		}
		t.book.see(quota, t.options.Clock.Now())
		return nil
	})
}

// replace removes an object that has the name of ours and is not ours: the prefix of the name is reserved.
func (t *tending) replace(ctx context.Context, foreign *corev1.ResourceQuota) error {
	if foreign.DeletionTimestamp != nil {
		return nil // made anew when it is gone
	}
	if err := client.IgnoreNotFound(t.host.Delete(ctx, foreign, client.Preconditions{UID: &foreign.UID})); err != nil {
		return fmt.Errorf("delete ResourceQuota %q, which is not the agent's: %w", foreign.Namespace+"/"+foreign.Name, err)
	}
	return fmt.Errorf("the ResourceQuota %q was not the agent's; it is made anew", foreign.Namespace+"/"+foreign.Name)
}

// next is when something changes by itself.
func (t *tending) next(statusIn time.Duration) time.Duration {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	now, least := t.options.Clock.Now(), statusIn
	sooner := func(at time.Time) {
		if in := max(at.Sub(now), retryFirst); least == 0 || in < least {
			least = in
		}
	}
	if now.Before(t.book.mayRaiseAt) {
		sooner(t.book.mayRaiseAt)
	}
	for _, one := range t.book.lots {
		for _, held := range one.drops {
			sooner(held.until)
		}
		if one.quota != nil && !one.isGone && one.lags() {
			sooner(one.changedAt.Add(quiet))
		}
	}
	return least
}

// each runs a few calls at a time, and returns all errors of different texts.
func (t *tending) each(count int, call func(index int) error) error {
	errs := make([]error, count)
	var group sync.WaitGroup
	turns := make(chan struct{}, parallel)
	for index := range count {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			errs[index] = call(index)
		})
	}
	group.Wait()
	return first(errs)
}

// first is the first error, and how many more there are.
func first(errs []error) error {
	var found error
	more := 0
	for _, err := range errs {
		switch {
		case err == nil:
		case found == nil:
			found = err
		default:
			more++
		}
	}
	if more > 0 {
		return fmt.Errorf("%w (and %d more)", found, more)
	}
	return found
}

// shown is a message that fits into a condition.
func shown(message string) string {
	const longest = 1024
	if len(message) > longest {
		message = strings.ToValidUTF8(message[:longest], "") + "…"
	}
	return message
}
