package hostranges

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reader answers lists of nodes and ServiceCIDRs.
type reader struct {
	client.Reader
	nodes    []corev1.Node
	services []networkingv1.ServiceCIDR
	err      error
	lists    int
}

func (r *reader) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	r.lists++
	if nodes, ok := into.(*corev1.NodeList); ok {
		nodes.Items = r.nodes
		return r.err
	}
	if services, ok := into.(*networkingv1.ServiceCIDRList); ok {
		services.Items = r.services
		if r.services == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "servicecidrs"}, "")
		}
	}
	return nil
}

func TestSourceRemembers(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	host := &reader{nodes: hostNodes(), services: serviceCIDRs()}
	source := NewSource(host, func() time.Time { return now })
	current := func() *Ranges {
		t.Helper()
		ranges, err := source.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ranges
	}
	first := current()
	if current() != first || host.lists != 2 {
		t.Errorf("the host was asked %d times, want once for each", host.lists)
	}
	now = now.Add(2 * life)
	if current() != first || host.lists != 4 {
		t.Errorf("the same answer is not the same pointer, or was not asked for (%d times)", host.lists)
	}

	watched := &reader{err: &cache.ErrCacheNotStarted{}}
	source.Follow(watched)
	source.Expire()
	if current() != first || host.lists != 5 {
		t.Error("without a started cache the host is not asked")
	}
	watched.err, watched.nodes = nil, append(hostNodes(), corev1.Node{Spec: corev1.NodeSpec{PodCIDR: "10.245.0.0/24"}})
	source.Expire()
	if second := current(); second == first || !second.IsProtected(netip.MustParseAddr("10.245.0.1")) || host.lists != 5 {
		t.Error("a new node is not seen")
	}
	watched.err = errors.New("broken")
	source.Expire()
	if _, err := source.Current(t.Context()); err == nil {
		t.Error("an error of the cache is hidden")
	}
}

func TestHostWithoutServiceCIDRs(t *testing.T) {
	ranges, err := NewSource(&reader{nodes: hostNodes()}, nil).Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !ranges.IsProtected(netip.MustParseAddr("10.96.0.1")) {
		t.Error("a ClusterIP is not protected on a host that does not tell its Service ranges")
	}
}

func TestSameNode(t *testing.T) {
	old := &hostNodes()[0]
	heartbeat := old.DeepCopy()
	heartbeat.ResourceVersion, heartbeat.Status.Phase = "2", corev1.NodeRunning
	moved := old.DeepCopy()
	moved.Status.Addresses[0].Address = "203.0.113.6"
	if !SameNode(old, heartbeat) || SameNode(old, moved) {
		t.Error("nodes are told apart by something else than their ranges")
	}
}
