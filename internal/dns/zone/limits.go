package zone

import (
	"sync"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

// What one tenant may ask: enough for a busy application, too little to keep the others from being answered.
const (
	tenantRate  = 2000 // questions a second
	tenantBurst = 4000
	// tenantForwards bounds the questions that wait for an upstream resolver.
	tenantForwards = 200
	// rememberedTenants bounds the table. Whoever is dropped from it has asked nothing for the longest time.
	rememberedTenants = 8192
)

type limits struct {
	mu       sync.Mutex
	byTenant *lru.Cache // of *tenantLimit by ID
}

type tenantLimit struct {
	rate     *rate.Limiter
	forwards chan struct{}
}

func newLimits() *limits { return &limits{byTenant: lru.New(rememberedTenants)} }

func (l *limits) of(id string) *tenantLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.byTenant.Get(id); ok {
		if limit, ok := found.(*tenantLimit); ok {
			return limit
		}
	}
	limit := &tenantLimit{rate: rate.NewLimiter(tenantRate, tenantBurst), forwards: make(chan struct{}, tenantForwards)}
	l.byTenant.Add(id, limit)
	return limit
}

func (l *limits) allow(id string) bool { return l.of(id).rate.Allow() }

func (l *limits) startForward(id string) (release func(), ok bool) {
	limit := l.of(id)
	select {
	case limit.forwards <- struct{}{}:
		return func() { <-limit.forwards }, true
	default:
		return nil, false
	}
}
