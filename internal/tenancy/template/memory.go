package template

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// memory knows which objects were as they should when they were last looked at, so that a round in which nobody has changed
// anything writes nothing. Losing it costs one round of writes.
type memory struct {
	mu sync.Mutex
	// instances are by UID; protected by mu.
	instances map[types.UID]settled
}

// settled are the versions of objects by UID, under the fingerprint of what was rendered.
type settled struct {
	rendered string
	versions map[types.UID]string
}

func newMemory() *memory { return &memory{instances: map[types.UID]settled{}} }

func (m *memory) isSettled(instance types.UID, rendered string) func(*unstructured.Unstructured) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.instances[instance]
	if known.rendered != rendered {
		return func(*unstructured.Unstructured) bool { return false }
	}
	return func(object *unstructured.Unstructured) bool {
		version, ok := known.versions[object.GetUID()]
		return ok && version == object.GetResourceVersion()
	}
}

// before tells whether exactly this was rendered the last time.
func (m *memory) before(instance types.UID, rendered string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.instances[instance].rendered == rendered
}

func (m *memory) settle(instance types.UID, rendered string, items []*item) {
	versions := make(map[types.UID]string, len(items))
	for _, item := range items {
		versions[item.live.GetUID()] = item.live.GetResourceVersion()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.instances[instance] = settled{rendered: rendered, versions: versions}
}

func (m *memory) forget(instance types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.instances, instance)
}
