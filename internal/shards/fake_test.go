package shards

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// server stands for the API server where time must be a test's own: calls take a random time before and after they have
// their effect, and links to it can be cut. What a real one does is tested in package integration.
type server struct {
	mu sync.Mutex
	// The following are protected by mu.
	random   *rand.Rand
	version  int
	leases   map[string]*coordinationv1.Lease
	history  []change
	appended chan struct{} // closed with the next change
}

type change struct {
	kind  watch.EventType
	lease *coordinationv1.Lease
	at    int
}

func newServer(seed uint64) *server {
	return &server{random: rand.New(rand.NewPCG(seed, 1)), leases: map[string]*coordinationv1.Lease{}, appended: make(chan struct{})}
}

func (s *server) delay(most time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.random.IntN(20) == 0 {
		most *= 20 // now and then something is slow
	}
	return time.Duration(s.random.Int64N(int64(most)))
}

// record must be called with mu held.
func (s *server) record(kind watch.EventType, lease *coordinationv1.Lease) {
	s.history = append(s.history, change{kind, lease, s.version})
	close(s.appended)
	s.appended = make(chan struct{})
}

// link is one replica's way to the server.
type link struct {
	typedcoordinationv1.LeaseInterface
	*server

	mu    sync.Mutex
	isCut bool          // protected by mu
	moved chan struct{} // protected by mu; closed when isCut changes
}

func (s *server) link() *link { return &link{server: s, moved: make(chan struct{})} }

func (l *link) cut(isCut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut != isCut {
		l.isCut = isCut
		close(l.moved)
		l.moved = make(chan struct{})
	}
}

func (l *link) state() (bool, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isCut, l.moved
}

var errCut = errors.New("no route to host")

// travel is the way in one direction. On a link that is cut some calls fail at once, and others hang.
func (l *link) travel(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(l.delay(20 * time.Millisecond)):
	}
	isCut, _ := l.state()
	if !isCut {
		return nil
	}
	if l.delay(2)%2 == 0 {
		return errCut
	}
	<-ctx.Done()
	return ctx.Err()
}

func call[T any](ctx context.Context, l *link, effect func() (T, error)) (T, error) {
	var none T
	if err := l.travel(ctx); err != nil {
		return none, err
	}
	l.server.mu.Lock()
	result, err := effect()
	l.server.mu.Unlock()
	if lost := l.travel(ctx); lost != nil {
		return none, lost
	}
	return result, err
}

var deleteNow = metav1.DeleteOptions{}

var resource = schema.GroupResource{Group: coordinationv1.GroupName, Resource: "leases"}

func (l *link) Create(ctx context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return call(ctx, l, func() (*coordinationv1.Lease, error) {
		if _, ok := l.leases[lease.Name]; ok {
			return nil, apierrors.NewAlreadyExists(resource, lease.Name)
		}
		made := lease.DeepCopy()
		made.UID = types.UID(fmt.Sprintf("uid-%d", l.version))
		return l.store(watch.Added, made), nil
	})
}

// store must be called with server.mu held.
func (l *link) store(kind watch.EventType, lease *coordinationv1.Lease) *coordinationv1.Lease {
	l.version++
	lease.ResourceVersion = strconv.Itoa(l.version)
	l.leases[lease.Name] = lease
	l.record(kind, lease)
	return lease.DeepCopy()
}

func (l *link) Update(ctx context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return call(ctx, l, func() (*coordinationv1.Lease, error) {
		now, ok := l.leases[lease.Name]
		if !ok {
			return nil, apierrors.NewNotFound(resource, lease.Name)
		}
		if now.ResourceVersion != lease.ResourceVersion {
			return nil, apierrors.NewConflict(resource, lease.Name, errors.New("changed"))
		}
		return l.store(watch.Modified, lease.DeepCopy()), nil
	})
}

func (l *link) Get(ctx context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return call(ctx, l, func() (*coordinationv1.Lease, error) {
		if now, ok := l.leases[name]; ok {
			return now.DeepCopy(), nil
		}
		return nil, apierrors.NewNotFound(resource, name)
	})
}

func (l *link) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	_, err := call(ctx, l, func() (any, error) {
		now, ok := l.leases[name]
		if !ok {
			return nil, apierrors.NewNotFound(resource, name)
		}
		if wanted := options.Preconditions; wanted != nil &&
			(wanted.UID != nil && *wanted.UID != now.UID || wanted.ResourceVersion != nil && *wanted.ResourceVersion != now.ResourceVersion) {
			return nil, apierrors.NewConflict(resource, name, errors.New("changed"))
		}
		l.version++
		delete(l.leases, name)
		l.record(watch.Deleted, now)
		return nil, nil
	})
	return err
}

func (l *link) List(ctx context.Context, _ metav1.ListOptions) (*coordinationv1.LeaseList, error) {
	return call(ctx, l, func() (*coordinationv1.LeaseList, error) {
		list := &coordinationv1.LeaseList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(l.version)}}
		for _, lease := range l.leases {
			list.Items = append(list.Items, *lease.DeepCopy())
		}
		return list, nil
	})
}

// Watch ends when the link is cut, or goes silent for as long as it is.
func (l *link) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if err := l.travel(ctx); err != nil {
		return nil, err
	}
	from, err := strconv.Atoi(options.ResourceVersion)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan watch.Event)
	go func() {
		defer close(events)
		l.tell(ctx, from, events)
	}()
	return watcher{events, cancel}, nil
}

func (l *link) tell(ctx context.Context, from int, events chan<- watch.Event) {
	next := 0
	for {
		l.server.mu.Lock()
		changes, appended := l.history[next:], l.appended
		l.server.mu.Unlock()
		for _, c := range changes {
			next++
			if c.at <= from {
				continue
			}
			if l.travel(ctx) != nil {
				return
			}
			select {
			case events <- watch.Event{Type: c.kind, Object: c.lease.DeepCopy()}:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-appended:
		case <-ctx.Done():
			return
		}
	}
}

type watcher struct {
	events chan watch.Event
	cancel context.CancelFunc
}

func (w watcher) Stop()                          { w.cancel() }
func (w watcher) ResultChan() <-chan watch.Event { return w.events }
