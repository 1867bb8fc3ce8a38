package pod

import (
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/matryoshka-dev/matryoshka/internal/mapping"
	"github.com/matryoshka-dev/matryoshka/internal/syncer/engine"
)

// marks remembers which tenant pods were bound and marked, for the time until the cache shows it. To forget all of them is
// harmless: the binding would be tried again and be refused.
type marks struct {
	mu sync.Mutex
	// The following are protected by mu.
	byTenant map[types.UID]map[engine.Key]types.UID // the UID of the tenant's pod
	checked  map[types.UID]map[engine.Key]time.Time // when a pod that does not start was looked at
	told     map[types.UID]map[engine.Key]time.Time // when it was told that the host does not place a pod
}

func newMarks() *marks {
	return &marks{
		byTenant: map[types.UID]map[engine.Key]types.UID{},
		checked:  map[types.UID]map[engine.Key]time.Time{}, told: map[types.UID]map[engine.Key]time.Time{},
	}
}

// mayRecheck tells whether a pod that does not start was not looked at for a while, and notes that it is now.
func (m *marks) mayRecheck(tenant types.UID, key engine.Key, now time.Time) bool {
	return m.note(m.checked, tenant, key, now, recheckEvery)
}

// mayTell tells whether it was not told for a while that the host does not place a pod, and notes that it is now.
func (m *marks) mayTell(tenant types.UID, key engine.Key, now time.Time) bool {
	return m.note(m.told, tenant, key, now, unplacedEvery)
}

func (m *marks) note(times map[types.UID]map[engine.Key]time.Time, tenant types.UID, key engine.Key, now time.Time, every time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(times[tenant][key]) < every {
		return false
	}
	if times[tenant] == nil {
		times[tenant] = map[engine.Key]time.Time{}
	}
	times[tenant][key] = now
	return true
}

func (m *marks) clearRecheck(tenant types.UID, key engine.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.checked[tenant], key)
}

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
	delete(m.checked[tenant], key)
	delete(m.told[tenant], key)
}

func (m *marks) stopped(tenant types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byTenant, tenant)
	delete(m.checked, tenant)
	delete(m.told, tenant)
}

// markerOf is the UID of the host pod that a tenant's pod has had, or "". The marker counts only together with the pod's
// own UID beside it: a pod that a backup tool made again brings the annotations of the old one along.
func markerOf(virtualPod *corev1.Pod) types.UID {
	if virtualPod.Annotations[mapping.AnnotationTenantUID] != string(virtualPod.UID) {
		return ""
	}
	return types.UID(virtualPod.Annotations[mapping.AnnotationHostUID])
}

// markerFor are the annotations of a tenant's pod whose host pod this is.
func markerFor(virtualPod, hostPod *corev1.Pod) map[string]string {
	marker := map[string]string{mapping.AnnotationHostUID: string(hostPod.UID), mapping.AnnotationTenantUID: string(virtualPod.UID)}
	if epoch, ok := hostPod.Annotations[mapping.AnnotationSleepEpoch]; ok {
		marker[mapping.AnnotationSleepEpoch] = epoch
	}
	return marker
}

// withoutMarker hides the marker from the pod: it is not the tenant's, and it comes when the pod is already running.
func withoutMarker(annotations map[string]string) map[string]string {
	own := maps.Clone(annotations)
	delete(own, mapping.AnnotationHostUID)
	delete(own, mapping.AnnotationTenantUID)
	delete(own, mapping.AnnotationSleepEpoch)
	return own
}
