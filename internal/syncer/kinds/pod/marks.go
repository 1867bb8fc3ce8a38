package pod

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// marks remembers which tenant pods were bound and marked, for the time until the cache shows it. To forget all of them is
// harmless: the binding would be tried again and be refused.
type marks struct {
	mu       sync.Mutex
	byTenant map[types.UID]map[engine.Key]types.UID // protected by mu; the UID of the tenant's pod
}

func newMarks() *marks { return &marks{byTenant: map[types.UID]map[engine.Key]types.UID{}} }

func (m *marks) has(tenant types.UID, key engine.Key, podUID types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byTenant[tenant][key] == podUID
}

func (m *marks) set(tenant types.UID, key engine.Key, podUID types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byTenant[tenant] == nil {
		m.byTenant[tenant] = map[engine.Key]types.UID{}
	}
	m.byTenant[tenant][key] = podUID
}

func (m *marks) forget(tenant types.UID, key engine.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byTenant[tenant], key)
}

func (m *marks) stopped(tenant types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byTenant, tenant)
}
