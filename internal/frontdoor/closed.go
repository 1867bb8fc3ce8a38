package frontdoor

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/tenants"
)

// closedPeriod is how often it is asked for the tenants of open connections whether they are closed meanwhile.
const closedPeriod = time.Second

// ways are the open connections by their tenants, so that those of one can be ended.
type ways struct {
	mu   sync.Mutex
	next int
	ends map[types.UID]map[int]context.CancelFunc // protected by mu
}

func newWays() *ways { return &ways{ends: map[types.UID]map[int]context.CancelFunc{}} }

// open enters a connection to a tenant. The returned context also ends when the tenant is closed; leave must be called.
func (w *ways) open(ctx context.Context, tenant types.UID) (way context.Context, leave func()) {
	way, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	number := w.next
	w.next++
	if w.ends[tenant] == nil {
		w.ends[tenant] = map[int]context.CancelFunc{}
	}
	w.ends[tenant][number] = cancel
	return way, func() {
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ends[tenant], number)
		if len(w.ends[tenant]) == 0 {
			delete(w.ends, tenant)
		}
	}
}

func (w *ways) tenants() []types.UID {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]types.UID, 0, len(w.ends))
	for tenant := range w.ends {
		all = append(all, tenant)
	}
	return all
}

// end ends the connections to a tenant, and tells how many.
func (w *ways) end(tenant types.UID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cancel := range w.ends[tenant] {
		cancel()
	}
	return len(w.ends[tenant])
}

// isClosed tells whether nobody may come to a tenant now.
func (s *Server) isClosed(ctx context.Context, tenant tenants.Tenant) bool {
	return s.Closed != nil && s.Closed(ctx, tenant)
}

// endClosed ends the connections to tenants that are closed while they are open.
func (s *Server) endClosed(ctx context.Context) {
	if s.Closed == nil {
		return
	}
	tick := time.NewTicker(closedPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, uid := range s.ways.tenants() {
				tenant, ok := s.Registry.ByUID(uid)
				if ok && s.isClosed(ctx, tenant) {
					ended := s.ways.end(uid)
					s.Log.Info("Ended the connections to a virtual cluster that is closed", "vcluster", tenant.Namespace+"/"+tenant.Name, "connections", ended)
				}
			}
		}
	}
}
