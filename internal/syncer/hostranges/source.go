package hostranges

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// life is how long what was read is believed. Nodes that are watched are read again at once; see Expire.
const life = time.Minute

// Source reads the host's ranges and remembers them. It is safe for concurrent use.
type Source struct {
	host client.Reader
	now  func() time.Time

	mu sync.Mutex
	// The following are protected by mu.
	watched       client.Reader // a cache that has the nodes; nil before Follow
	nodes         []corev1.Node
	nodesUntil    time.Time
	services      []networkingv1.ServiceCIDR
	servicesUntil time.Time
	current       *Ranges
}

// NewSource makes a source that asks the host directly. The clock nil means time.Now.
func NewSource(host client.Reader, now func() time.Time) *Source {
	if now == nil {
		now = time.Now
	}
	return &Source{host: host, now: now}
}

// Follow makes the source read the nodes from a cache that watches them, as soon as that has started.
func (s *Source) Follow(hostCache client.Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = hostCache
}

// Expire makes the next Current look at the nodes again. It is for those who watch them.
func (s *Source) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodesUntil = time.Time{}
}

// Current is what the host says now. As long as that does not change it is the same pointer.
func (s *Source) Current(ctx context.Context) (*Ranges, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	isNew := false
	if !now.Before(s.nodesUntil) {
		nodes, err := s.readNodes(ctx)
		if err != nil {
			return nil, err
		}
		s.nodes, s.nodesUntil, isNew = nodes, now.Add(life), true
	}
	if !now.Before(s.servicesUntil) {
		services, err := s.readServices(ctx)
		if err != nil {
			return nil, err
		}
		s.services, s.servicesUntil, isNew = services, now.Add(life), true
	}
	if isNew {
		if read := New(s.nodes, s.services); s.current == nil || !s.current.Equal(read) {
			s.current = read
		}
	}
	return s.current, nil
}

func (s *Source) readNodes(ctx context.Context) ([]corev1.Node, error) {
	list := &corev1.NodeList{}
	if s.watched != nil {
		err := s.watched.List(ctx, list, client.UnsafeDisableDeepCopy)
		if err == nil {
			return telling(list.Items), nil
		}
		var notStarted *cache.ErrCacheNotStarted
		if !errors.As(err, &notStarted) {
			return nil, fmt.Errorf("list host nodes: %w", err)
		}
	}
	if err := s.host.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list host nodes: %w", err)
	}
	return telling(list.Items), nil
}

// telling keeps of each node only what tells a range.
func telling(nodes []corev1.Node) []corev1.Node {
	slim := make([]corev1.Node, len(nodes))
	for i := range nodes {
		slim[i].Spec.PodCIDR, slim[i].Spec.PodCIDRs = nodes[i].Spec.PodCIDR, nodes[i].Spec.PodCIDRs
		slim[i].Status.Addresses = nodes[i].Status.Addresses
	}
	return slim
}

// readServices asks for the Service ranges. They are not watched: hosts before 1.33 do not serve them, and a watch of an
// unknown type would never begin.
func (s *Source) readServices(ctx context.Context) ([]networkingv1.ServiceCIDR, error) {
	list := &networkingv1.ServiceCIDRList{}
	err := s.host.List(ctx, list)
	switch {
	case err == nil:
		return list.Items, nil
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err), apierrors.IsForbidden(err):
		return nil, nil // not told: all private ranges are then protected
	default:
		return nil, fmt.Errorf("list servicecidrs: %w", err)
	}
}

// SameNode tells whether two states of a node have the same ranges. It is for triggers that watch nodes.
func SameNode(old, new client.Object) bool {
	oldNode, isNode := old.(*corev1.Node)
	newNode, isNodeToo := new.(*corev1.Node)
	return isNode && isNodeToo && oldNode.Spec.PodCIDR == newNode.Spec.PodCIDR &&
		equality.Semantic.DeepEqual(oldNode.Spec.PodCIDRs, newNode.Spec.PodCIDRs) &&
		equality.Semantic.DeepEqual(oldNode.Status.Addresses, newNode.Status.Addresses)
}
