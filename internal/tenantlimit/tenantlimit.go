// Package tenantlimit bounds what one tenant may ask of a door at a time, so that none uses up the door or the host's API
// server. It says yes or no; what the tenant is told is the door's business.
package tenantlimit

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// rememberedTenants bounds the table; a tenant that is dropped from it starts with a full burst again.
const rememberedTenants = 4096

// Allowance is what one tenant may ask.
type Allowance struct {
	// Rate is how much may be asked per second, and Burst how much at once.
	Rate  rate.Limit
	Burst int
	// Running and Waiting are how many requests may be answered at a time and how many may wait for their turn.
	Running, Waiting int
}

// Limits keeps the tenants' allowances.
type Limits struct {
	allowance Allowance

	mu sync.Mutex
	// byTenant is protected by mu.
	byTenant map[types.UID]*tenantLimit
}

type tenantLimit struct {
	rate    *rate.Limiter
	running chan struct{}
	waiting chan struct{}
}

// New gives every tenant the same allowance.
func New(allowance Allowance) *Limits {
	return &Limits{allowance: allowance, byTenant: map[types.UID]*tenantLimit{}}
}

func (l *Limits) of(uid types.UID) *tenantLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit, ok := l.byTenant[uid]; ok {
		return limit
	}
	if len(l.byTenant) >= rememberedTenants {
		for other, limit := range l.byTenant {
			if len(limit.waiting) == 0 && len(limit.running) == 0 {
				delete(l.byTenant, other)
				break
			}
		}
	}
	limit := &tenantLimit{
		rate:    rate.NewLimiter(l.allowance.Rate, l.allowance.Burst),
		running: make(chan struct{}, l.allowance.Running),
		waiting: make(chan struct{}, l.allowance.Waiting),
	}
	l.byTenant[uid] = limit
	return limit
}

// Acquire waits for the tenant's turn to ask something of this cost. The caller calls release when it has the answer; ok is
// false when it is too much.
func (l *Limits) Acquire(ctx context.Context, uid types.UID, cost int) (release func(), ok bool) {
	limit := l.of(uid)
	select {
	case limit.waiting <- struct{}{}:
		defer func() { <-limit.waiting }()
	default:
		return nil, false
	}
	if err := limit.rate.WaitN(ctx, cost); err != nil {
		return nil, false
	}
	select {
	case limit.running <- struct{}{}:
		return func() { <-limit.running }, true
	case <-ctx.Done():
		return nil, false
	}
}
