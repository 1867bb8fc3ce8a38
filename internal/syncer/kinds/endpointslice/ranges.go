package endpointslice

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// rangesTime is how long the host's Service ranges are remembered. They change about never.
const rangesTime = time.Minute

// ranges remembers the host's Service ranges, which are the same for all tenants. They are asked for and not watched:
// hosts before 1.33 do not serve them, and a watch of an unknown type would never begin.
type ranges struct {
	now func() time.Time

	mu sync.Mutex
	// The following are protected by mu.
	serviceCIDRs []networkingv1.ServiceCIDR
	until        time.Time
}

func newRanges(now func() time.Time) *ranges { return &ranges{now: now} }

// guard is what the host's nodes and Service ranges say now.
func (r *ranges) guard(ctx context.Context, scope *engine.Scope) (Guard, error) {
	hostNodes := &corev1.NodeList{}
	if err := scope.HostCache.List(ctx, hostNodes); err != nil {
		return Guard{}, fmt.Errorf("list host nodes: %w", err)
	}
	serviceCIDRs, err := r.services(ctx, scope)
	if err != nil {
		return Guard{}, err
	}
	return NewGuard(hostNodes.Items, serviceCIDRs), nil
}

func (r *ranges) services(ctx context.Context, scope *engine.Scope) ([]networkingv1.ServiceCIDR, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now().Before(r.until) {
		return r.serviceCIDRs, nil
	}
	found := &networkingv1.ServiceCIDRList{}
	err := scope.HostClient.List(ctx, found)
	switch {
	case err == nil:
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err), apierrors.IsForbidden(err):
		found.Items = nil // not told: all private ranges are then protected
	default:
		return nil, &engine.HostError{Action: "list servicecidrs", Err: err}
	}
	r.serviceCIDRs, r.until = found.Items, r.now().Add(rangesTime)
	return r.serviceCIDRs, nil
}
