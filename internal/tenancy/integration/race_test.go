package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	tenancyv1alpha1 "github.com/matryoshka-dev/matryoshka/api/tenancy/v1alpha1"
	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/shards"
	"github.com/matryoshka-dev/matryoshka/internal/tenancy/tenancytest"
)

// replica is one of several that share the accounts and spaces.
type replica struct {
	writes atomic.Int32
	isDead atomic.Bool
	end    context.CancelFunc
}

var errDead = errors.New("this replica is dead")

// RoundTrip is the replica's way to the API server. A dead one has none.
func (r *replica) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if r.isDead.Load() {
			return nil, errDead
		}
		if request.Method != http.MethodGet {
			r.writes.Add(1)
		}
		return next.RoundTrip(request)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func startReplica(t *testing.T, h *tenancytest.Host, name string) *replica {
	t.Helper()
	r := &replica{}
	config := h.AgentConfig()
	config.Wrap(r.wrap)
	leases, err := typedcoordinationv1.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	share, err := shards.New(shards.Options{
		Client: leases.Leases(tenancytest.SystemNamespace), Name: name, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	stopControllers := h.StartAgent(t, tenancytest.Parts{Config: config, Shards: share})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = share.Run(ctx) // a dead one cannot hand over
	}()
	r.end = sync.OnceFunc(func() {
		cancel()
		<-ended
		stopControllers()
	})
	t.Cleanup(r.end)
	return r
}

// TestKioskSpaceLimitIsRacy: kiosk counted and then created, so that of many who did so at once all came through. Here 50
// creations against a limit of 10 give exactly 10, with two replicas of which one dies in between.
func TestKioskSpaceLimitIsRacy(t *testing.T) {
	const wanted, limit = 50, 10
	h := tenancytest.NewHost(t, nil)
	first := startReplica(t, h, "matryoshka-agent-first")
	startReplica(t, h, "matryoshka-agent-second")
	awaitShares(t, h, 2)
	account := newAccount("racers", user("rob"))
	account.Spec.Spaces.Limit = new(int32(limit))
	h.Create(t, account)
	rob := h.As(t, "rob")
	mustBeAbleTo(t, h, "rob makes spaces", func(ctx context.Context) error {
		return rob.Create(ctx, newSpace("race-dry", "racers"), client.DryRunAll)
	})
	most := watchMost(t, h)
	before := first.writes.Load()
	var group sync.WaitGroup
	for index := range wanted {
		group.Go(func() {
			if err := rob.Create(t.Context(), newSpace(fmt.Sprintf("race-%d", index), "racers")); err != nil {
				t.Errorf("create space %d: %v", index, err)
			}
		})
	}
	h.Eventually(t, "the first replica is in the middle of it", func() error {
		if writes := first.writes.Load() - before; writes < 12 {
			return fmt.Errorf("it has written %d times", writes)
		}
		return nil
	})
	first.isDead.Store(true)
	group.Wait()
	awaitStandings(t, h, limit, wanted-limit)
	if got := most(); got > limit {
		t.Errorf("there were %d namespaces at a time, with a limit of %d", got, limit)
	}
	// What is given back goes to those who wait, at once.
	released := 0
	for _, space := range spacesWith(t, h, "Ready")[:4] {
		mustBeAbleTo(t, h, "rob deletes a space", func(ctx context.Context) error { return rob.Delete(ctx, newSpace(space, "")) })
		released++
	}
	awaitStandings(t, h, limit, wanted-limit-released)
	if got := most(); got > limit {
		t.Errorf("there were %d namespaces at a time, with a limit of %d", got, limit)
	}
}

// awaitShares waits until this many replicas share the shards.
func awaitShares(t *testing.T, h *tenancytest.Host, replicas int) {
	t.Helper()
	h.Eventually(t, "the replicas share", func() error {
		var table coordinationv1.Lease
		if err := h.Admin.Get(t.Context(), client.ObjectKey{Namespace: tenancytest.SystemNamespace, Name: shards.TableName}, &table); err != nil {
			return err
		}
		var holders map[string][]int
		if err := json.Unmarshal([]byte(table.Annotations[shards.AnnotationHolders]), &holders); err != nil || len(holders) != replicas {
			return errors.Join(fmt.Errorf("the table is %v", table.Annotations), err)
		}
		return nil
	})
}

// watchMost counts the namespaces of spaces with a watch that misses none, and tells how many there were at most at a time.
func watchMost(t *testing.T, h *tenancytest.Host) (most func() int32) {
	t.Helper()
	watching, err := client.NewWithWatch(h.Config, client.Options{Scheme: h.Admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watching.Watch(t.Context(), &corev1.NamespaceList{}, client.MatchingLabels{mapping.LabelKind: mapping.KindSpace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	var highest atomic.Int32
	go func() {
		there := map[string]bool{}
		for event := range events.ResultChan() {
			namespace, ok := event.Object.(*corev1.Namespace)
			if !ok {
				continue
			}
			if event.Type == "DELETED" {
				delete(there, namespace.Name)
			} else {
				there[namespace.Name] = true
			}
			highest.Store(max(highest.Load(), int32(len(there))))
		}
	}()
	return highest.Load
}

// awaitStandings waits until so many spaces are ready and so many wait for a place, and not one more.
func awaitStandings(t *testing.T, h *tenancytest.Host, ready, waiting int) {
	t.Helper()
	h.Eventually(t, "the spaces have settled", func() error {
		gotReady, gotWaiting := len(spacesWith(t, h, "Ready")), len(spacesWith(t, h, tenancyv1alpha1.ReasonLimitReached))
		if gotReady != ready || gotWaiting != waiting {
			return fmt.Errorf("%d are ready and %d wait, want %d and %d", gotReady, gotWaiting, ready, waiting)
		}
		return nil
	})
}

func spacesWith(t *testing.T, h *tenancytest.Host, reason string) []string {
	t.Helper()
	var list tenancyv1alpha1.SpaceList
	if err := h.Admin.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, space := range list.Items {
		condition := apimeta.FindStatusCondition(space.Status.Conditions, tenancyv1alpha1.ConditionReady)
		if condition != nil && condition.Reason == reason && space.DeletionTimestamp.IsZero() {
			names = append(names, space.Name)
		}
	}
	return names
}

// TestWaitingSpacesAreBounded: spaces above the limit are objects, too, and a member can make any number of them.
func TestWaitingSpacesAreBounded(t *testing.T) {
	const bound = 100
	h := tenancytest.NewHost(t, nil)
	h.StartAgent(t, tenancytest.Parts{})
	account := newAccount("flood", user("fred"))
	account.Spec.Spaces.Limit = new(int32(1))
	h.Create(t, account)
	createSpace(t, h, h.As(t, "fred"), "flood-first", "flood")
	awaitReady(t, h, "flood-first")
	fred := h.As(t, "fred")
	for index := range bound + 5 {
		if err := fred.Create(t.Context(), newSpace(fmt.Sprintf("flood-%d", index), "flood")); err != nil {
			t.Fatal(err)
		}
	}
	h.Eventually(t, "no more than the bound wait", func() error {
		var list tenancyv1alpha1.SpaceList
		if err := h.Admin.List(t.Context(), &list); err != nil {
			return err
		}
		waiting := len(spacesWith(t, h, tenancyv1alpha1.ReasonLimitReached))
		if len(list.Items) != bound+1 || waiting != bound {
			return fmt.Errorf("there are %d spaces, of which %d wait", len(list.Items), waiting)
		}
		return nil
	})
	awaitReady(t, h, "flood-first")
}
