package pod

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// resolverLife is how long the address of the DNS is believed. It changes only when somebody makes the Service anew.
const resolverLife = time.Minute

// resolver knows the address of the tenants' DNS.
type resolver struct {
	service types.NamespacedName
	now     func() time.Time

	mu sync.Mutex
	// The following are protected by mu.
	servers []string
	asked   time.Time
}

func newResolver(service types.NamespacedName, now func() time.Time) *resolver {
	return &resolver{service: service, now: now}
}

func (r *resolver) addresses(ctx context.Context, scope *engine.Scope) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.servers) > 0 && r.now().Sub(r.asked) < resolverLife {
		return r.servers, nil
	}
	service := &corev1.Service{}
	if err := scope.HostClient.Get(ctx, r.service, service); err != nil {
		return nil, fmt.Errorf("get the DNS service %q: %w", r.service, err)
	}
	if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil, fmt.Errorf("the DNS service %q has no address", r.service)
	}
	r.servers, r.asked = []string{service.Spec.ClusterIP}, r.now()
	return r.servers, nil
}
