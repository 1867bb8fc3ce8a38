package addressdoor

import (
	"context"
	"net/http"
	"sync"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What one tenant may ask. A burst is an application with a few hundred Services applied at once.
const (
	tenantRate        = 50
	tenantBurst       = 300
	tenantConcurrency = 16
	tenantWaiting     = 64
	// rememberedTenants bounds the table; a tenant that is dropped from it starts with a full burst again.
	rememberedTenants = 4096
)

// limits keeps one tenant from using up the door or the host's API server.
type limits struct {
	mu sync.Mutex
	// byTenant is protected by mu.
	byTenant map[types.UID]*tenantLimit
}

type tenantLimit struct {
	rate    *rate.Limiter
	running chan struct{}
	waiting chan struct{}
}

func newLimits() *limits { return &limits{byTenant: map[types.UID]*tenantLimit{}} }

func (l *limits) of(uid types.UID) *tenantLimit {
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
		rate:    rate.NewLimiter(tenantRate, tenantBurst),
		running: make(chan struct{}, tenantConcurrency),
		waiting: make(chan struct{}, tenantWaiting),
	}
	l.byTenant[uid] = limit
	return limit
}

// acquire waits for the tenant's turn. The caller calls release when it is done.
func (l *limits) acquire(ctx context.Context, uid types.UID) (release func(), err error) {
	limit := l.of(uid)
	select {
	case limit.waiting <- struct{}{}:
		defer func() { <-limit.waiting }()
	default:
		return nil, tooMany()
	}
	if err := limit.rate.Wait(ctx); err != nil {
		return nil, tooMany()
	}
	select {
	case limit.running <- struct{}{}:
		return func() { <-limit.running }, nil
	case <-ctx.Done():
		return nil, tooMany()
	}
}

func tooMany() error {
	result := status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
		"this virtual cluster asks for too many Service addresses at once; try again in a moment")
	result.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retrySoon}
	return result
}
