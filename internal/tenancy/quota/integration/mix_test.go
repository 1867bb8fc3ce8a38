package integration

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
)

// replica is an agent with its own part of the shards. It can die without telling anybody.
type replica struct {
	*agent
	kill func()
}

// mortal are shares of a replica that may be dead: it begins nothing any more, and what it does ends.
type mortal struct {
	shards.Shares
	life context.Context
}

func (m mortal) Enter(ctx context.Context, uid types.UID) (context.Context, func(), bool) {
	if m.life.Err() != nil {
		return nil, nil, false
	}
	work, leave, ok := m.Shares.Enter(ctx, uid)
	if !ok {
		return nil, nil, false
	}
	work, cancel := context.WithCancel(work)
	stop := context.AfterFunc(m.life, cancel)
	return work, func() { stop(); cancel(); leave() }, true
}

// cut is a connection that ends with a life.
type cut struct {
	next http.RoundTripper
	life context.Context
}

func (c cut) RoundTrip(request *http.Request) (*http.Response, error) {
	if c.life.Err() != nil {
		return nil, c.life.Err()
	}
	return c.next.RoundTrip(request)
}

func (h *host) startReplica(t *testing.T, name string) *replica {
	t.Helper()
	// Killed means that its Lease is renewed no more and not given back.
	life, kill := context.WithCancel(context.Background())
	config := rest.CopyConfig(h.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return cut{next: next, life: life} })
	leases := kubernetes.NewForConfigOrDie(config).CoordinationV1().Leases("default")
	shares, err := shards.New(shards.Options{Client: leases, Name: name, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = shares.Run(ctx) })
	one := &replica{agent: h.startAgent(t, name, mortal{Shares: shares, life: life})}
	one.kill = func() {
		kill()
		one.agent.stop()
	}
	t.Cleanup(func() {
		one.kill()
		stop()
		group.Wait()
	})
	return one
}

// enough pods are so many that the share of the host's mistakes says something: about one of a hundred is usual, more than five are not
// chance.
const enough = 200

// TestNeverExceeded: many clients create and delete pods in spaces and in mapped namespaces of one account, with two replicas of which one
// dies in the middle. At no moment is more there than the quota allows, and in the end all of it can be used.
func TestNeverExceeded(t *testing.T) {
	const bound, clients, namespaces = 30, 12, 5
	h := newHost(t)
	first, second := h.startReplica(t, "agent-a"), h.startReplica(t, "agent-b")
	h.installWebhook(t, "make-room-a", first.agent)
	h.installWebhook(t, "make-room-b", second.agent)
	for index := range namespaces {
		kind := []string{mapping.KindSpace, mapping.KindMapped}[index%2]
		h.addNamespace(t, fmt.Sprintf("mix-%d", index), "mix", kind)
	}
	h.addQuota(t, "mix", "mix", map[corev1.ResourceName]string{"pods": fmt.Sprint(bound)})
	h.awaitReady(t, "mix")

	seen := h.observe(t)
	var group sync.WaitGroup
	var made, refused atomic.Int64
	ctx, cancel := mixing(t, func() bool { return made.Load() >= enough && refused.Load() > 0 })
	defer cancel()
	time.AfterFunc(8*time.Second, first.kill)
	for number := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(number), 1))
			for count := 0; ctx.Err() == nil; count++ {
				one := pod(fmt.Sprintf("mix-%d", random.IntN(namespaces)), fmt.Sprintf("pod-%d-%d", number, count), "")
				switch err := h.admin.Create(ctx, one); {
				case err == nil:
					made.Add(1)
				case apierrors.IsForbidden(err):
					refused.Add(1)
					h.deleteSome(ctx, random.IntN(namespaces), random)
				}
			}
		})
	}
	group.Wait()
	cancel()
	t.Logf("%d pods made, %d refused", made.Load(), refused.Load())
	if made.Load() < 3*bound || refused.Load() == 0 {
		t.Error("this tested nothing")
	}
	for index := range namespaces {
		if err := h.admin.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(fmt.Sprintf("mix-%d", index))); err != nil {
			t.Fatal(err)
		}
	}
	for index := range bound {
		eventually(t, "all of the quota can be used in one namespace", func() error {
			return h.admin.Create(t.Context(), pod("mix-0", fmt.Sprintf("last-%d", index), ""))
		})
	}
	seen.check(t, h, bound)
}

// mixing is the time in which pods are made and deleted: 25 seconds, or until there was enough of it, but at most three minutes.
func mixing(t *testing.T, isEnough func() bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	begun := time.Now()
	go func() {
		for ctx.Err() == nil && (time.Since(begun) < 25*time.Second || !isEnough()) {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		cancel()
	}()
	return ctx, cancel
}

// deleteSome deletes about half of the pods of a namespace.
func (h *host) deleteSome(ctx context.Context, namespace int, random *rand.Rand) {
	list := &corev1.PodList{}
	if h.admin.List(ctx, list, client.InNamespace(fmt.Sprintf("mix-%d", namespace))) != nil {
		return
	}
	for index := range list.Items {
		if random.IntN(2) == 0 {
			_ = h.admin.Delete(ctx, &list.Items[index])
		}
	}
}

// turns are shares of two replicas that take turns, and for a second of each turn both believe to be the owner.
type turns struct {
	shards.Shares
	begun time.Time
	isOdd bool
}

func (o turns) Enter(ctx context.Context, _ types.UID) (context.Context, func(), bool) {
	const turn, overlap = 4 * time.Second, time.Second
	at := time.Since(o.begun)
	if o.isOdd {
		at += turn
	}
	isMine := at%(2*turn) < turn+overlap
	return ctx, func() {}, isMine
}

// TestTwoOwners: two replicas that again and again both believe to be the owner raise nothing beyond the quota.
func TestTwoOwners(t *testing.T) {
	const bound, namespaces = 12, 4
	h := newHost(t)
	begun := time.Now()
	one := h.startAgent(t, "agent-a", turns{Shares: shards.All(), begun: begun})
	other := h.startAgent(t, "agent-b", turns{Shares: shards.All(), begun: begun, isOdd: true})
	h.installWebhook(t, "make-room-a", one)
	h.installWebhook(t, "make-room-b", other)
	seen := h.observe(t)
	h.addQuota(t, "mix", "mix", map[corev1.ResourceName]string{"pods": fmt.Sprint(bound)})
	for index := range namespaces {
		h.addNamespace(t, fmt.Sprintf("mix-%d", index), "mix", mapping.KindSpace)
	}
	h.awaitQuota(t, "mix", "everywhere", func(q *tenancyv1alpha1.AccountQuota) bool {
		return hasCondition(q, tenancyv1alpha1.ConditionReady, metav1.ConditionTrue) && len(q.Status.Namespaces) == namespaces
	})
	var group sync.WaitGroup
	var made atomic.Int64
	ctx, cancel := mixing(t, func() bool { return made.Load() >= enough })
	defer cancel()
	for number := range namespaces {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(number), 2))
			for count := 0; ctx.Err() == nil; count++ {
				if h.admin.Create(ctx, pod(fmt.Sprintf("mix-%d", number), fmt.Sprintf("pod-%d", count), "")) == nil {
					made.Add(1)
				} else {
					h.deleteSome(ctx, number, random)
				}
			}
		})
	}
	group.Wait()
	if made.Load() < bound {
		t.Error("this tested nothing")
	}
	seen.check(t, h, bound)
}
